"""Measures the project's budgets.

There is one module for each kind of budget. Each has a function `checks` that returns a list of
`budget.Check`.
"""
