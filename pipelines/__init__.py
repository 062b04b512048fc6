"""The jobs, by room: core, prepare, model, index, publish, search, stages; and the command line."""
