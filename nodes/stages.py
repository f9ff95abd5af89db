"""What is known of each computation by its title: whose dtype it has, and what helps where its memory runs out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A computation.

    Attributes:
        part: of the model, as the host's flags name it: "transformer", "vae" or "text".
        cures: three settings that make it need less memory, the best first.
    """

    part: str
    cures: tuple[str, str, str]


_SMALLER = "make the canvas smaller (width, height)"
_SHORTER = "make it shorter (frames)"
_FLAGS = "start ComfyUI with --lowvram or --novram, the command line with --device cpu"
_DECODE = (
    "set tiling to 'set' with a smaller tile_size (512, then 256)",
    "set a smaller tile_frames as well (48, then 32)",
)
_ENCODE = (_SMALLER, _SHORTER, _FLAGS)
_SOUND = (_SHORTER, "cut the sound into parts", _FLAGS)

#: By the title of the computation.
STAGES = {
    "sample": Stage("transformer", ("set passes_per_forward to 1 on LTX-2 Guider", f"{_SMALLER} or shorter", _FLAGS)),
    "decode audio": Stage("vae", _SOUND),
    "decode video": Stage("vae", (*_DECODE, _FLAGS)),
    "decode images": Stage("vae", (*_DECODE, "use LTX-2 Decode Video, which keeps no frames in memory")),
    "upsample": Stage("vae", _ENCODE),
    "encode prompt": Stage("text", ("shorten the text", "encode the prompts in a run of their own (cache on)", _FLAGS)),
    "enhance prompt": Stage("text", ("set a smaller max_tokens", "shorten the text or the system prompt", _FLAGS)),
    "look at the image": Stage("text", ("leave the image out", "turn enabled off", _FLAGS)),
    "encode guides": Stage("vae", (f"{_SMALLER} or shorter", "use shorter or fewer guides", _FLAGS)),
    "encode voices": Stage("vae", ("use shorter or fewer voices", "cut the sound into parts", _FLAGS)),
    "encode video": Stage("vae", _ENCODE),
    "encode audio": Stage("vae", _SOUND),
}
