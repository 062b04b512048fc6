"""Checks, publication, rollback, and what proves a published index whole."""
