"""The documentation runs: its blocks, its links, its site, the examples, the notebook."""
