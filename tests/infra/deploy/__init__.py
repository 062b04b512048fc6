"""Tests of what infra/deploy/ holds."""
