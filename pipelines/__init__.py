"""The jobs, one file each: read, chain, write, commit."""
