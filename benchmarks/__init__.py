"""Scripts that measure speed and memory, and the JSON that they wrote."""
