"""Runs graphs from scripts: on a ComfyUI server over its HTTP interface, or in this process.

from comfyui_ltx2.client import run

run("LTX-2 Text to Video Distilled.json", {"Prompt.text": "rain"}, server="127.0.0.1:8188", output="clips")

docs/automation.md tells the rest.
"""

from ..ltx2.errors import LTX2Error
from .async_client import AsyncClient
from .batch import abatch, batch
from .client import Client
from .connection import NoAnswer
from .errors import RunError
from .events import (
    Event,
    Finished,
    NodeCached,
    NodeEvent,
    NodeExecuted,
    NodeProgress,
    NodeStarted,
    Preview,
    ServerFile,
    Status,
)
from .manifest import RowResult
from .run import arun, run

__all__ = [
    "AsyncClient",
    "Client",
    "Event",
    "Finished",
    "LTX2Error",
    "NoAnswer",
    "NodeCached",
    "NodeEvent",
    "NodeExecuted",
    "NodeProgress",
    "NodeStarted",
    "Preview",
    "RowResult",
    "RunError",
    "ServerFile",
    "Status",
    "abatch",
    "arun",
    "batch",
    "run",
]
