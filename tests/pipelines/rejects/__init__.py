"""Tests of pipelines/rejects."""
