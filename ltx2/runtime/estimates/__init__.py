"""How many bytes of results are alive at once in each stage, weights not included, before anything is computed.

Pure arithmetic over configs and sizes: each function walks its network as `forward` does and names the moment at which
most is alive. What tests hold it against is counted on the meta device, where attention and RMS norm are one kernel
each, as on GPUs. Weights whose dtype is not the one computed in are copied layer by layer, and the copy counts.
"""

from __future__ import annotations

from .sound import decode_sound_bytes, encode_sound_bytes
from .text import answer_bytes, likely_tokens, prompt_bytes, vision_bytes
from .transformer import Forward, forward_bytes
from .upsampler import upsample_bytes
from .video import decode_bytes, encode_bytes

__all__ = [
    "Forward",
    "answer_bytes",
    "decode_bytes",
    "decode_sound_bytes",
    "encode_bytes",
    "encode_sound_bytes",
    "forward_bytes",
    "likely_tokens",
    "prompt_bytes",
    "upsample_bytes",
    "vision_bytes",
]
