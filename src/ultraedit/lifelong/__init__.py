"""The turn loop and what stands on it, with nothing on disk."""
