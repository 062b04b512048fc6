"""Tests that need an accelerator: `make test-gpu`."""
