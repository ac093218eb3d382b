"""The model as editors see it."""
