"""Atomic writes, file locks, and checks that an output does not replace an input."""
