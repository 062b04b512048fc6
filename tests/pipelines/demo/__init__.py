"""Tests of pipelines/demo."""
