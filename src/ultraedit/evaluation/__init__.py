"""Scores of edits, probes, monitors, perplexity and general ability."""
