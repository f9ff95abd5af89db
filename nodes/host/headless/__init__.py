"""The host of the command line: ComfyUI's schema vocabulary, folders, graph execution and progress, without ComfyUI."""
