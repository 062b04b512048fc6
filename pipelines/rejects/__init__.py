"""Rejected rows: listed, exported, replayed after a fix."""
