"""Measurements: each is a command that prints the machine, the versions and its figures."""
