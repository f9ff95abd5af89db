"""LTX-2 for ComfyUI. Imports nothing until ComfyUI asks for the nodes: tests and the command line come by here too."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI's way in: the extension that lists the nodes."""
    from .nodes import LTX2Extension

    return LTX2Extension()
