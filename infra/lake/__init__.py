"""The data lake: table schemas, storage, content-addressed shards and the commit protocol."""
