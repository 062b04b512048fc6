"""Search the published index: encode the query, ask the backend, fuse rankings."""
