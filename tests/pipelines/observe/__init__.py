"""Tests of pipelines/observe."""
