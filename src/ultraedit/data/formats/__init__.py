"""The published layouts, one file each."""
