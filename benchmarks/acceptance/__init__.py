"""The project's budgets, each measured against the rival it names, kept or missed.

One module for each kind of promise; each has a function that returns `budget.Check`s.
"""
