"""The coefficients that a page adds up with, against the full estimates."""

from __future__ import annotations

import pytest
import torch

from ltx2.checkpoint.release import released_config
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.config.video_vae import VideoVAEConfig
from ltx2.runtime.estimates import Forward, decode_bytes, forward_bytes
from ltx2.runtime.estimates.canvas import bytes_per_pixel, bytes_per_summed_pixel, bytes_per_token
from ltx2.runtime.tiling import choose_tiling

DTYPE = torch.bfloat16


@pytest.mark.parametrize("tokens", [(2000, 60), (6144, 126), (32640, 126), (63240, 251)])
def test_a_pass_is_a_sum_over_tokens(tokens):
    config = parse(TransformerConfig, released_config("2.3")["transformer"], "transformer")
    video, audio = bytes_per_token(config, DTYPE)
    assert tokens[0] * video + tokens[1] * audio == pytest.approx(
        forward_bytes(config, Forward(tokens=tokens), DTYPE), rel=0.1
    )


@pytest.mark.parametrize("size", [(121, 512, 768), (25, 512, 768), (121, 1088, 1920), (241, 704, 1280)])
def test_decoding_is_a_sum_over_pixels(size):
    config = parse(VideoVAEConfig, released_config("2.3")["vae"], "vae")
    tiling = choose_tiling(size)
    spans = (tiling.frames, tiling.height, tiling.width) if tiling else (None,) * 3
    frames, height, width = (span[0] if span else length for span, length in zip(spans, size, strict=True))
    total = frames * height * width * bytes_per_pixel(config, DTYPE)
    if tiling:
        total += frames * size[1] * size[2] * bytes_per_summed_pixel(config)
    assert total == pytest.approx(decode_bytes(config, size, tiling, DTYPE), rel=0.1)
