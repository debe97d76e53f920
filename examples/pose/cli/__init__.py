"""Shared by the commands: their parser, their errors, Ctrl-C and child processes."""
