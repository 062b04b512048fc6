"""Tests of the verbs that look at a machine and at data."""
