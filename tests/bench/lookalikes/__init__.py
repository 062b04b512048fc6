"""Things that look or sound alike and are not the same, and copies of them that are."""
