"""Tests of pipelines/evaluation."""
