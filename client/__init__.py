"""Runs graphs from scripts: on a ComfyUI server over its HTTP interface, or in this process.

from comfyui_ltx2.client import run

run("LTX-2 Text to Video Distilled.json", {"Prompt.text": "rain"}, server="127.0.0.1:8188", output="clips")
"""

from ..ltx2.errors import LTX2Error
from .client import Client, ServerFile, Status, run
from .connection import NoAnswer
from .errors import RunError

__all__ = ["Client", "LTX2Error", "NoAnswer", "RunError", "ServerFile", "Status", "run"]
