"""A run from its settings to its folder, and what can be done with one."""
