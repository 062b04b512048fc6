"""From sources to records: the plan, cleaning and alignment, exact and near duplicates."""
