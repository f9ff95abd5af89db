"""The only code that touches a host: ComfyUI, or the headless stand-in of the command line.

Whoever loads the pack chooses the host once, before any node module is imported: `comfy_entrypoint` takes ComfyUI,
the command line takes the headless one.
"""

from __future__ import annotations

from .protocol import Host

_host: Host | None = None


def use(host: Host) -> None:
    """Make `host` the one that every node of this process sees."""
    global _host
    _host = host


def current() -> Host:
    """The host chosen by whoever loaded the pack."""
    assert _host is not None, "a host must be chosen with nodes.host.use() before nodes are imported"
    return _host
