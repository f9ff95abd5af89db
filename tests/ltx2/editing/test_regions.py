"""Retake and inpaint: masks against the reference, ranges as users give them, and what is refused."""

import pytest
import torch

from ltx2.editing.regions import inpaint, retake
from ltx2.errors import LTX2Error
from ltx2.latents import KEY, Clip, states_of


@pytest.fixture(scope="module")
def case(golden):
    return golden("conditioning")


def given(case):
    video = {"samples": case.inputs["initial_latent"], KEY: Clip(24.0)}
    return video, {"samples": case.inputs["audio_initial"], KEY: Clip(24.0)}


def frames(latent):
    """Which latents are generated."""
    return latent["noise_mask"][0, 0].flatten(1).amax(1).nonzero().flatten().tolist()


def test_the_masks_are_the_references(case):
    states = states_of(*retake(*given(case), 0.5, 1.0))
    for state, name in zip(states, ("fps24.region_video", "audio_region"), strict=True):
        for field, key in (("mask", "denoise_mask"), ("clean", "clean_latent"), ("latent", "latent")):
            torch.testing.assert_close(getattr(state, field), case.outputs[f"{name}.{key}"], rtol=0, atol=0)


def test_what_is_not_regenerated_is_kept(case):
    video, audio = retake(*given(case), 0.5, 1.0, regenerate_video=False)
    assert frames(video) == []
    assert len(frames(audio)) == 13
    video, audio = retake(*given(case), 0.5, 1.0, regenerate_audio=False)
    assert frames(audio) == []
    assert frames(video) == [2, 3]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 0.0, [0, 1, 2, 3, 4]),  # 33 frames: [0, 1), [1, 9), [9, 17), [17, 25), [25, 33)
        (0.0, 0.01, [0]),
        (1 / 24, 0.3, [1]),
        (-8 / 24, 0.0, [4]),
        (0.0, -8 / 24, [0, 1, 2, 3]),
        (9 / 24, 25 / 24, [2, 3]),
        (1.2, 1.375, [4]),
    ],
)
def test_ranges(make_clip, start, end, expected):
    video, _ = retake(make_clip(5)[0], None, start, end)
    assert frames(video) == expected


def test_the_first_latent_of_a_continuing_clip_reaches_back(make_clip):
    video, audio = ({**latent, KEY: Clip(24.0, continues=True)} for latent in make_clip(5))
    video, audio = retake(video, audio, 0.0, 0.01)
    assert frames(video) == frames(audio) == [0]
    video, audio = retake(video, audio, 0.3, 0.0)
    assert 0 in frames(video), "a second retake adds to the mask"
    assert frames(video) == [0, 1, 2, 3, 4]


def test_masks_add_up(make_clip):
    video, audio = retake(*make_clip(5), 0.0, 0.01, regenerate_audio=False)
    video, audio = retake(video, audio, 1.2, 0.0, regenerate_video=False)
    assert frames(video) == [0]
    assert frames(audio)[0] == 30
    pixels = torch.zeros(33, 64, 96)
    pixels[17:25, :32, :32] = 1
    video, _ = retake({**video, "noise_mask": pixels}, None, 0.0, 0.01)
    assert video["noise_mask"].shape == (1, 1, 5, 2, 3)
    assert frames(video) == [0, 3]
    assert video["noise_mask"].sum() == 7


@pytest.mark.parametrize(("start", "end"), [(0.0, 1.4), (-1.4, 0.0), (0.5, 0.5), (1.0, 0.5), (0.0, -2.0), (1.5, 0.0)])
def test_ranges_outside_the_clip_are_refused(make_clip, start, end):
    with pytest.raises(LTX2Error, match=r"must enclose a part of the clip, which lasts 1\.375 s; got .* count from"):
        retake(*make_clip(5), start, end)


def test_a_length_that_was_rounded_is_the_clips_own(make_clip):
    video, _ = make_clip(16)  # 121 frames, 5.041666 s
    assert frames(retake(video, None, 0.0, 5.042)[0]) == list(range(16))
    assert frames(retake(video, None, -5.042, 0.0)[0]) == list(range(16))


def test_nothing_to_regenerate_is_refused(make_clip):
    video, audio = make_clip(5)
    for latents, flags in (
        ((video, audio), {"regenerate_video": False, "regenerate_audio": False}),
        ((video, None), {"regenerate_video": False}),
        ((None, audio), {"regenerate_audio": False}),
    ):
        with pytest.raises(LTX2Error, match="must regenerate something; nothing that is connected"):
            retake(*latents, 0.0, 0.0, **flags)
    with pytest.raises(LTX2Error, match="must be connected; got neither"):
        retake(None, None, 0.0, 0.0)


def test_sound_alone(make_clip):
    _, audio = make_clip(5)
    _, result = retake(None, {"samples": audio["samples"]}, 0.5, 1.0)
    assert frames(result) == list(range(13, 26))


def test_inpaint(make_clip, frozen_inputs):
    video, audio = make_clip(3)
    unchanged = frozen_inputs(video, audio)
    mask = torch.zeros(1, 64, 96)
    mask[:, :32, 64:] = 1
    result, sound = inpaint(video, mask, audio)
    assert result["noise_mask"].squeeze().tolist() == [[0, 0, 1], [0, 0, 0]]
    assert states_of(result, sound)[0].mask.sum() == 3
    assert frames(sound) == []
    assert inpaint(video, mask)[1] is None
    unchanged()


def test_what_inpaint_refuses(make_clip):
    video, audio = make_clip(3)
    for mask, message in (
        (torch.zeros(1, 64, 96), "0 in every latent: paint an area"),
        (torch.ones(5, 64, 96), "1, 3 or 17 frames; got 5"),
        ("mask.png", "mask must be a MASK; got str"),
    ):
        with pytest.raises(LTX2Error, match=message):
            inpaint(video, mask, audio)
    with pytest.raises(LTX2Error, match="video and audio must be equally long"):
        inpaint(video, torch.ones(1, 64, 96), make_clip(9)[1])


def test_inputs_are_left_alone(make_clip, frozen_inputs):
    pair = make_clip(5, batch=2)
    unchanged = frozen_inputs(*pair)
    results = retake(*pair, 0.5, 1.0)
    unchanged()
    assert all(
        "noise_mask" in result and torch.equal(result["samples"], latent["samples"])
        for result, latent in zip(results, pair, strict=True)
    )
