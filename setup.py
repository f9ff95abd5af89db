"""Lists the packages below the root, which pyproject.toml maps to `comfyui_ltx2`; everything else is said there."""

from setuptools import find_packages, setup

PARTS = ["ltx2", "ltx2.*", "nodes", "nodes.*"]

setup(packages=["comfyui_ltx2", *(f"comfyui_ltx2.{name}" for name in find_packages(".", include=PARTS))])
