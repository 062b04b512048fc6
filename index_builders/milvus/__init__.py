"""The Milvus backend; `client` alone imports pymilvus."""
