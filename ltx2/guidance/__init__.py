"""Guidance: which passes a step needs (data), and the arithmetic on their predictions."""
