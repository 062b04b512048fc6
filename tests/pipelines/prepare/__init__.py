"""Tests of pipelines/prepare."""
