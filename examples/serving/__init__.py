"""Serves the exported pose model: version export, warm-up requests, clients, and a load test."""
