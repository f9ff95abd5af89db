"""The tiny model set: every file of a release under its real name, small enough to be written in seconds.

The models are the released ones with smaller configs and random weights; nothing else in the library knows of them.
"""

from __future__ import annotations

from .model_set import write as write
