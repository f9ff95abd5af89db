"""Graphs as values: the API form that is executed, the UI form that people edit, and the way from one to the other."""
