"""Lifelong editing of open-weights language models."""
