"""Tests of the Milvus backend."""
