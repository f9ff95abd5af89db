"""LTX-2 for ComfyUI. Imports nothing until ComfyUI asks for the nodes: tests and the command line come by here too."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """ComfyUI's way in: the extension that lists the nodes."""
    try:
        from .nodes.host.comfyui.extension import LTX2Extension

        return LTX2Extension()
    except Exception:
        import logging

        # ComfyUI shows one line of an error here, and users report what they see.
        logging.getLogger("ltx2").exception("the LTX-2 nodes cannot be loaded")
        raise
