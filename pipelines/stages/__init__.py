"""The stages of a reindex, in order, over one state of the run."""
