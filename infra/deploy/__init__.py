"""Files that run a project somewhere: templates, one folder a target, and what writes them for a project."""
