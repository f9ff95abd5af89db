"""Memory that runs out in what Gemma does: "automatic" goes on with less, and nothing else does."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

AUTOMATIC, RESIDENT, RAM, DISK = "automatic", "resident", "streamed from RAM", "streamed from disk"
IMAGE = torch.rand(1, 40, 60, 3, generator=torch.Generator().manual_seed(0))
#: By the title of the computation: the class of its blocks, and the image that is given.
STAGES = {
    "enhance prompt": ("Gemma3DecoderLayer", None),
    "look at the image": ("Layer", IMAGE),
}


@pytest.fixture
def enhance(pack, node, text_encoder):
    """`enhance(mode, image)` is the prompt that a text encoder writes which is placed so."""
    told = {"system_prompt": "", "max_tokens": 4, "temperature": 0.7, "seed": 1, "enabled": True}

    def enhanced(mode, image):
        placement = mode and pack("ltx2.placement").Placement(mode)
        recipe = replace(text_encoder, placement=placement)
        return node("LTX2_EnhancePrompt").execute(recipe, "a red fox", image=image, **told).args[0]

    return enhanced


@pytest.fixture
def running_out():
    """`running_out(kind, times)`: so many calls of modules of this class find no memory; how many are left of them."""
    handles = []

    def run_out(kind, times):
        left = [times]

        def fail(module, _inputs):
            if type(module).__name__ == kind and left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory.")

        handles.append(torch.nn.modules.module.register_module_forward_pre_hook(fail))
        return left

    yield run_out
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("title", STAGES)
@pytest.mark.parametrize("times", [1, 2])
def test_automatic_takes_less_and_writes_the_same(enhance, running_out, caplog, title, times):
    kind, image = STAGES[title]
    expected = enhance(None, image)
    left = running_out(kind, times)
    with caplog.at_level("INFO", "ltx2"):
        assert enhance(AUTOMATIC, image) == expected
    assert left == [0]
    assert caplog.text.count("memory ran out: it is placed in less") == times
    placed = [mode for line in caplog.messages for mode in (RESIDENT, RAM, DISK) if f"> {mode}: " in line]
    taken = [RESIDENT, RAM, DISK][: times + 1]
    # What is no stage that ran out stays as it was.
    assert placed == (taken if image is None else [*taken, RESIDENT])
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LTX-2 blocks")]


@pytest.mark.parametrize("title", STAGES)
@pytest.mark.parametrize("mode", [None, RESIDENT, RAM, DISK])
def test_what_the_user_chose_stays_and_the_error_names_the_cure(enhance, running_out, error, title, mode):
    kind, image = STAGES[title]
    running_out(kind, 1)
    with pytest.raises(error, match=f"{title} must fit into the memory of cpu; it ran out.*with LTX-2 Placement"):
        enhance(mode, image)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("LTX-2 blocks")]


@pytest.mark.parametrize("mode", [RESIDENT, RAM, DISK])
def test_the_eye_sees_the_same_wherever_its_layers_are(pack, host, text_encoder, mode):
    vision, networks = pack("ltx2.prompting.vision"), pack("nodes.host.networks")
    eye = vision.VisionRecipe.of(text_encoder)
    pixels = vision.picture_pixels(IMAGE, eye.config.image_size)
    (network,) = networks.borrow(eye)
    expected = network(pixels)
    placed = vision.VisionRecipe.of(replace(text_encoder, placement=pack("ltx2.placement").Placement(mode)))
    (network,) = networks.borrow(placed)
    assert networks.CACHE._residents["vision tower"].placed.placement.mode == mode
    assert torch.equal(network(pixels), expected)


def test_prompts_for_comfyui_go_on_with_less_too(pack, node, text_encoder, running_out, caplog):
    prompts = pack("ltx2.interop.prompts")
    (encoder,) = pack("nodes.host.networks").borrow(text_encoder)
    features = prompts.features(encoder, "a red fox", torch.device("cpu"), torch.float32)
    given = prompts.unprocessed(features, 24.0)
    read = node("LTX2_ConditioningFromComfyUI").execute
    expected, _ = read(conditioning=given, text_encoder=text_encoder).args
    left = running_out("ConnectorBlock", 1)
    placed = replace(text_encoder, placement=pack("ltx2.placement").Placement())
    found, _ = read(conditioning=given, text_encoder=placed).args
    assert left == [0]
    assert "memory ran out: it is placed in less" in caplog.text
    assert torch.equal(found.video, expected.video)
    assert torch.equal(found.audio, expected.audio)
