"""Operation: check an installation and a project."""
