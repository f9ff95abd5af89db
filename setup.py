"""Finds the packages below the root, which pyproject.toml maps to `comfyui_ltx2`; everything else is said there."""

from setuptools import find_packages, setup

found = find_packages(".", include=["client", "client.*", "ltx2", "ltx2.*", "nodes", "nodes.*"])

# Build front ends run this file under their own script's name; told its own, setuptools leaves it out of the wheel.
setup(script_name="setup.py", packages=["comfyui_ltx2", *(f"comfyui_ltx2.{name}" for name in found)])
