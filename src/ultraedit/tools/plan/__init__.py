"""What an edit would take, from the config alone."""
