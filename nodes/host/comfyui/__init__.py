"""The ComfyUI host: the only code of the pack that imports ComfyUI."""
