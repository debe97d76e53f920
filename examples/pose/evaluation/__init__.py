"""Evaluates trained networks: accuracy, cost, and pictures of what they learned."""
