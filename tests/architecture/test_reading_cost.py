"""What a newcomer reads to follow one denoising step, from the sigma to the updated latent."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 600


def functions_of(action):
    """The code objects of the library that `action` runs."""
    seen = set()

    def note(frame, event, _):
        if event == "call" and Path(frame.f_code.co_filename).is_relative_to(ROOT / "ltx2"):
            seen.add(frame.f_code)

    sys.setprofile(note)
    try:
        action()
    finally:
        sys.setprofile(None)
    # Comprehensions and lambdas are lines of the function around them.
    return {code for code in seen if not code.co_name.startswith("<")}


def test_reading_cost_of_a_guided_step(golden):
    from ltx2.checkpoint.keys import TRANSFORMER
    from ltx2.checkpoint.load import InMemory, build
    from ltx2.config.section import parse
    from ltx2.config.transformer import TransformerConfig
    from ltx2.guidance.guidance import Guidance
    from ltx2.networks.transformer.model import Transformer
    from ltx2.sampling.denoiser import Context, Denoiser, Prompts
    from ltx2.sampling.solvers import Injection, euler
    from ltx2.tokens import audio_state, video_state

    case = golden("end_to_end_23")
    config = parse(TransformerConfig, case.config["transformer"], "transformer")
    network = build(lambda: Transformer(config), TRANSFORMER, InMemory(case.weights))
    prompt = Context(case.inputs["video_context"], case.inputs["audio_context"])
    guidance = Guidance(cfg=3, stg=1, stg_blocks=frozenset({1}), modality=3, rescale=0.7)
    states = (video_state(torch.randn(1, 16, 3, 2, 4), 24.0), audio_state(torch.randn(1, 3, 7, 4)))
    denoiser = Denoiser(network, Prompts(prompt, prompt, guidance, guidance), states)
    latents = tuple(state.latent for state in states)

    injection = Injection(lambda kind, step: latents, denoiser.blend)
    codes = functions_of(lambda: euler(denoiser, latents, torch.tensor([1.0, 0.5]), injection))
    lines = {code: len(inspect.getsourcelines(code)[0]) for code in codes}
    listing = "\n".join(
        f"{count:4} {Path(code.co_filename).relative_to(ROOT)}:{code.co_firstlineno} {code.co_name}"
        for code, count in sorted(lines.items(), key=lambda item: -item[1])
    )
    assert 150 < sum(lines.values()) <= MOST_LINES, listing
