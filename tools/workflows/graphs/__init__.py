"""The shipped graphs. Each adds its nodes in the order in which they run and says where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..sheet import Node, Output, Sheet
from . import blueprints, editing, generate, images, loras, prompts, sound

GRAPHS: dict[str, Callable[[Sheet], None]] = {
    "LTX-2 Text to Video": generate.text_to_video,
    "LTX-2 Text to Video Distilled": generate.text_to_video_distilled,
    "LTX-2 Text to Video One Stage": generate.text_to_video_one_stage,
    "LTX-2 Text to Video HQ": generate.text_to_video_hq,
    "LTX-2 Image to Video Distilled": images.image_to_video_distilled,
    "LTX-2 First and Last Frame": images.first_and_last_frame,
    "LTX-2 Keyframes": images.keyframes,
    "LTX-2 Audio to Video": sound.audio_to_video,
    "LTX-2 Text to Audio": sound.text_to_audio,
    "LTX-2 Dub": sound.dub,
    "LTX-2 Control Video": loras.control_video,
    "LTX-2 LoRA Stack": loras.lora_stack,
    "LTX-2 Retake": editing.retake,
    "LTX-2 Extend": editing.extend,
    "LTX-2 Long Clip": editing.long_clip,
    "LTX-2 Prompt Enhancement": prompts.prompt_enhancement,
}

Drawn = tuple[str, Mapping[str, tuple[Node, str]], Mapping[str, Output]]
BLUEPRINTS: dict[str, Callable[[Sheet], Drawn]] = {"LTX-2 Two-Stage Text to Video": blueprints.two_stages}
