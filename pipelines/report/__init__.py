"""The page that shows a publication to a person: one HTML file that needs nothing else."""
