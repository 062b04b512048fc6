"""Tests of pipelines/search."""
