"""Deployment files: each is rendered and validated, and one fault planted in it is found."""
