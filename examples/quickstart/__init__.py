"""Quickstart: a Keras model with box convolutions, from data to export."""
