"""ComfyUI's own ways to say what this pack says: audio-video latents, prompts, and samplers that walk one tensor."""
