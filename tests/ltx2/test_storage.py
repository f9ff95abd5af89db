"""Latents and prompts in files: they come back exactly, and what is no such file is refused."""

import json
import logging
from dataclasses import dataclass, fields, is_dataclass

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ltx2.conditioning import frames, references, slots
from ltx2.conditioning.frames import AppendedFrames, ReplacedFrames
from ltx2.conditioning.references import ReferenceSound, ReferenceVideo
from ltx2.conditioning.slots import KeyframeSlots
from ltx2.errors import LTX2Error
from ltx2.latents import KEY, RUN_KEY, Clip, states_of
from ltx2.sampling.denoiser import Context
from ltx2.sampling.partial import Unfinished, at_start
from ltx2.storage import KINDS, VERSION, digest_of, load_context, load_latents, save_context, save_latents

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip.latents.safetensors"


def noise(*shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)


def conditions():
    """Every condition of video that there is, with values that are not the defaults."""
    return (
        ReplacedFrames(noise(1, 4, 1, 2, 3), latent_index=1, strength=0.8),
        AppendedFrames(noise(1, 4, 2, 2, 3), frame=8, strength=0.1 + 0.2, num_frames=9),
        ReferenceVideo(noise(1, 4, 5, 1, 1, dtype=torch.bfloat16), 0.7, 2, 1, torch.rand(5)),
        KeyframeSlots((3, 17), noise(1, 4, 2, 2, 3)),
        KeyframeSlots((8,)),
    )


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    elif type(one) in KINDS.values():
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name))
    else:
        assert one == other


@pytest.mark.parametrize("dtype", DTYPES)
def test_latents_come_back_exactly(path, dtype):
    video = {
        "samples": noise(1, 4, 5, 2, 3, dtype=dtype),
        "noise_mask": torch.rand(1, 1, 5, 2, 3),
        KEY: Clip(24000 / 1001, conditions(), continues=True),
    }
    audio = {
        "samples": noise(1, 2, 34, 3, dtype=dtype),
        "noise_mask": torch.zeros(1, 1, 34, 1),
        KEY: Clip(24000 / 1001, (ReferenceSound(noise(1, 2, 9, 3)),)),
    }
    save_latents(path, video, audio)
    assert_same(load_latents(path), (video, audio))


def test_what_comes_back_can_be_sampled(path):
    video = {"samples": noise(1, 4, 5, 2, 3), KEY: Clip(24.0, conditions()[:2])}
    save_latents(path, video, None)
    loaded, nothing = load_latents(path)
    assert nothing is None
    for one, other in zip(states_of(video, None)[:1], states_of(loaded, None)[:1], strict=True):
        assert torch.equal(one.clean, other.clean)
        assert torch.equal(one.positions, other.positions)


def test_a_run_that_stopped_goes_on_from_the_file(path):
    samples, tokens = noise(1, 4, 5, 2, 3), noise(1, 36, 4)
    run = Unfinished(samples, tokens, torch.ones(1, 36, 1), steps=3)
    video = {"samples": samples, KEY: Clip(24.0, conditions()[:2]), RUN_KEY: run}
    save_latents(path, video, None)
    loaded = load_latents(path)[0]
    assert_same(loaded, video)
    (state, _), (again, _) = (states_of(at_start(one, add_noise=False), None) for one in (video, loaded))
    assert torch.equal(again.latent, state.latent)
    assert torch.equal(again.clean, state.clean)


def test_special_values_views_and_shared_memory(path):
    whole = noise(1, 4, 7, 2, 3)
    whole[0, 0, 0] = float("nan")
    whole[0, 1, 0] = -0.0
    video = {
        "samples": whole[:, :, 2:],
        "noise_mask": torch.zeros(1, 1, 1, 1, 1).expand(1, 1, 5, 1, 1),
        KEY: Clip(24.0),
    }
    save_latents(path, {**video, "samples": whole}, None)
    assert_same(load_latents(path)[0], {**video, "samples": whole})
    guide = AppendedFrames(video["samples"][:, :, :1], frame=8)
    save_latents(path, {**video, KEY: Clip(24.0, (guide, guide))}, None)
    assert_same(load_latents(path)[0][KEY].conditions, (guide, guide))


def test_sound_without_frame_rate_and_others_keys(path, caplog):
    audio = {"samples": noise(1, 2, 9, 3), "batch_index": [0], "type": "audio"}
    with caplog.at_level(logging.WARNING, "ltx2"):
        save_latents(path, None, audio)
    assert "batch_index, type is not saved" in caplog.text
    assert_same(load_latents(path), (None, {"samples": audio["samples"]}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("is_empty", [True, False])
def test_prompts_come_back_exactly(path, dtype, is_empty):
    context = Context(noise(1, 128, 6, dtype=dtype), noise(1, 128, 4, dtype=dtype), is_empty)
    save_context(path, context)
    assert_same(load_context(path), context)


def test_what_is_loaded_does_not_hang_on_the_file(path):
    save_context(path, Context(torch.zeros(1, 128, 6), torch.zeros(1, 128, 4)))
    context = load_context(path)
    content = path.read_bytes()
    path.write_bytes(content[:-8192] + b"\xff" * 8192)
    assert not context.video.any()
    assert not context.audio.any()


def test_every_condition_has_a_place_in_the_table():
    found = {
        name
        for module in (frames, references, slots)
        for name, value in vars(module).items()
        if is_dataclass(value) and hasattr(value, "apply")
    }
    assert found >= {"ReplacedFrames", "AppendedFrames", "ReferenceVideo", "ReferenceSound", "KeyframeSlots"}
    assert found <= set(KINDS)


@dataclass(frozen=True)
class Unknown:
    def apply(self, state, grid, frame_rate):
        return state


def test_what_cannot_be_saved_is_refused_and_nothing_is_left(path, tmp_path):
    with pytest.raises(LTX2Error, match="a file can hold tensors, numbers and Clip, .*; got Unknown"):
        save_latents(path, {"samples": noise(1, 4, 5, 2, 3), KEY: Clip(24.0, (Unknown(),))}, None)
    with pytest.raises(LTX2Error, match="got neither"):
        save_latents(path, None, None)
    with pytest.raises(LTX2Error, match="are video and audio swapped"):
        save_latents(path, {"samples": noise(1, 2, 9, 3)}, None)
    with pytest.raises(LTX2Error, match="folder of an output file must exist"):
        save_context(tmp_path / "missing" / "a", Context(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)))
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(path, tmp_path):
    latents, prompt = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_latents(latents, None, {"samples": noise(1, 2, 9, 3)})
    save_context(prompt, Context(torch.zeros(1, 8, 2), torch.zeros(1, 8, 2)))
    with pytest.raises(
        LTX2Error, match=r"b\.safetensors must be a file of LTX-2 Save Latents; it is one of LTX-2 Save Co"
    ):
        load_latents(prompt)
    with pytest.raises(LTX2Error, match=r"must be a file of LTX-2 Save Conditioning; it is one of LTX-2 Save Latents"):
        load_context(latents)
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(LTX2Error, match="it is one of another program: choose another"):
        load_latents(path)
    path.write_bytes(b"\x80\x04not a safetensors file")
    with pytest.raises(LTX2Error, match="it cannot be read"):
        load_context(path)
    path.write_bytes(latents.read_bytes()[:-10])
    with pytest.raises(LTX2Error, match="it cannot be read"):
        load_latents(path)
    with pytest.raises(LTX2Error, match="it cannot be read"):
        load_latents(tmp_path / "missing.safetensors")


def changed(path, **metadata):
    """The file at `path` with other metadata, whose digest fits."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        own = {**file.metadata(), **metadata}
    save_file(tensors, path, {**own, "digest": digest_of(own["content"], tensors), **metadata})


def test_a_flipped_bit_is_found(path):
    save_latents(path, {"samples": noise(1, 4, 5, 2, 3), KEY: Clip(24.0, conditions()[:1])}, None)
    whole = path.read_bytes()
    for place in (len(whole) - 5, whole.index(b"24.0"), whole.index(b"0.8}")):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(LTX2Error, match="it is damaged .*its content is not what was written.*: save it anew"):
            load_latents(path)
    changed(path, digest="")
    with pytest.raises(LTX2Error, match="it is damaged"):
        load_latents(path)


def test_other_versions_are_refused(path):
    save_context(path, Context(torch.zeros(1, 8, 2), torch.zeros(1, 8, 2)))
    changed(path, version="2")
    with pytest.raises(LTX2Error, match="must be of version 1 of its layout; it is of version 2: update the pack"):
        load_context(path)
    assert VERSION == "1"


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        "{}",
        "{}" * 2,
        '{"latent": {}}',
        '{"latent": {"context": {"tensor": "9"}}}',
        '{"latent": {"context": {"kind": "Popen", "fields": {}}}}',
        '{"latent": {"context": {"kind": "Context", "fields": {"video": {"tensor": "0"}}}}}',
        '{"latent": {"context": {"kind": "Context", "fields": {"video": 1, "audio": 2}}}}',
        '{"latent": {"context": {"kind": "Clip", "fields": {"frame_rate": 24}}}}',
        '{"latent": {"context": {"tensor": "0"}}}',
        json.dumps({"latent": {"context": {"kind": "Context", "fields": {"later": 1}}}}),
        "[" * 100_000,
    ],
)
def test_damaged_files_are_refused(path, content):
    save_context(path, Context(torch.zeros(1, 8, 2), torch.zeros(1, 8, 2)))
    changed(path, content=content)
    with pytest.raises(LTX2Error, match="it is damaged .*: save it anew"):
        load_context(path)


@pytest.mark.parametrize(
    "video",
    [
        "5",
        '{"latent": {"samples": 3}}',
        '{"latent": {"samples": [1]}}',
        '{"latent": {"noise_mask": null}}',
        '{"latent": {"samples": {"tensor": "0"}, "ltx2": 4}}',
    ],
)
def test_damaged_latents_are_refused(path, video):
    save_latents(path, {"samples": noise(1, 4, 5, 2, 3)}, None)
    changed(path, content=f'{{"latent": {{"video": {video}}}}}')
    with pytest.raises(LTX2Error, match="must be a LATENT|must carry its frame rate"):
        load_latents(path)
