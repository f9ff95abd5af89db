"""Conditions: values with one method from token state to token state."""
