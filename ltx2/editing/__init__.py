"""Clips that exist already: regenerate a part, continue, cut and join, video and sound together."""
