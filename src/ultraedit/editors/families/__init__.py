"""What several editors have in common."""
