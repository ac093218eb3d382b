"""The command line: one file per command, all of them thin. Nothing here imports torch at once."""
