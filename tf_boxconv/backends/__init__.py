"""The compiled operators in the terms of one framework each."""
