"""What every job needs: the project opened on its lake, commits, recipes, the loop over engine outcomes."""
