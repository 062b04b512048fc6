"""Tests of pipelines/rag."""
