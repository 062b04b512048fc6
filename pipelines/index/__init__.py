"""Build the index on every backend, open it, and find exact neighbours to compare with."""
