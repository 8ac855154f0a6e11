"""Experiments made visible: one HTML page of a recipe's systems, a table of its languages."""
