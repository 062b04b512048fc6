"""How well words, near duplicates and measures of answers work in languages other than English."""
