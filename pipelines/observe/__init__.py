"""Who hears of runs: metrics, lineage, traces and alerts. None of them fails a run, or makes it wait."""
