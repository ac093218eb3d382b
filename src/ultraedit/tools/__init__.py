"""Programs of their own on top of runs."""
