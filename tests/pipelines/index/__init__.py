"""Tests of pipelines/index."""
