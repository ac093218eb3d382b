"""Temporary and lasting overlays on a model: routing, memories, facts."""
