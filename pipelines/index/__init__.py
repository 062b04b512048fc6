"""Build the index on every backend, open it, and measure exact answers to compare with."""
