"""Videos and sounds as latents: what the nodes give and refuse, and whole graphs that keep one modality."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from fractions import Fraction

import pytest
import torch

RATE = 48000


@pytest.fixture
def node(pack, host):
    """`node("LTX2_Freeze", latent=...)` runs that node and gives its outputs."""
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    return lambda node_id, **inputs: classes[node_id].execute(**inputs).args


@pytest.fixture
def video_vae(pack, checkpoint):
    return pack("ltx2.recipe").VideoVAERecipe.open(checkpoint)


@pytest.fixture
def canvas(pack):
    return pack("ltx2.geometry").Canvas


def tone(seconds: float, channels: int = 2) -> dict:
    time = torch.arange(round(seconds * RATE)) / RATE
    waves = [0.5 * torch.sin(2 * math.pi * (200 + 400 * time) * time + channel) for channel in range(channels)]
    return {"waveform": torch.stack(waves)[None], "sample_rate": RATE}


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    time, y, x = torch.meshgrid(*(torch.linspace(0, 1, size) for size in (count, height, width)), indexing="ij")
    return torch.stack([(x + time) % 1, y, time], -1)


@pytest.fixture
def clip(pack, tmp_path):
    """`clip(frames, height, width, sound)` is a VIDEO value of a file at 24 per second."""

    def write(frames, height=64, width=96, sound=None):
        path = tmp_path / f"{frames}_{height}_{width}_{sound is not None}.mp4"
        audio = None if sound is None else (sound["waveform"][0], sound["sample_rate"])
        with pack("ltx2.media.writer").VideoWriter(path, width, height, 24, crf=0, audio=audio) as video:
            video.write(pictures(frames, height, width))
        return pack("nodes.host.headless.video").VideoFromFile(path)

    return write


def test_a_video_becomes_a_latent_its_sound_and_a_canvas(node, pack, clip, video_vae, canvas):
    sound = tone(2.0)
    latent, audio, found = node("LTX2_EncodeVideo", video=clip(26, 70, 100, sound), video_vae=video_vae, start=0.0)
    assert found == canvas(96, 64, 25, 24.0)
    assert latent["samples"].shape == (1, 128, 4, 2, 3)
    assert latent["samples"].dtype == torch.float32
    assert not latent["samples"].requires_grad
    assert latent["ltx2"].frame_rate == 24.0
    assert audio["sample_rate"] == RATE
    assert audio["waveform"].shape == (1, 2, 25 * RATE // 24)
    assert (audio["waveform"] - sound["waveform"][..., : 25 * RATE // 24])[..., 500:-500].abs().mean() < 0.02
    empty = pack("ltx2.latents").empty(found, 1)
    pack("ltx2.latents").states_of(latent, empty[1])  # they are one clip


def test_a_canvas_says_size_length_and_rate(node, clip, video_vae, canvas):
    wanted = canvas(64, 32, 9, 12.0)
    latent, audio, found = node(
        "LTX2_EncodeVideo", video=clip(49, sound=tone(3)), video_vae=video_vae, start=0.5, canvas=wanted
    )
    assert found is wanted
    assert latent["samples"].shape == (1, 128, 2, 1, 2)
    assert latent["ltx2"].frame_rate == 12.0
    assert audio["waveform"].shape[-1] == 9 * RATE // 12


def test_images_are_encoded_like_the_video_that_they_are(node, error, video_vae, canvas):
    images = pictures(9, 64, 96)
    latent, audio, _ = node(
        "LTX2_EncodeVideo", video=images, video_vae=video_vae, start=0.0, canvas=canvas(96, 64, 9, 24.0)
    )
    expected = video_vae.build().encode((images * 255).round().div(127.5).sub(1).permute(3, 0, 1, 2)[None])
    torch.testing.assert_close(latent["samples"], expected.detach(), atol=1e-4, rtol=0)
    assert audio is None
    for channels in (1, 4):
        others = torch.rand(9, 64, 64, channels)
        with pytest.raises(error, match=r"video must be an IMAGE, a tensor \(batch, height, width, 3\)"):
            node("LTX2_EncodeVideo", video=others, video_vae=video_vae, start=0.0, canvas=canvas(96, 64, 9, 24.0))
    with pytest.raises(error, match="images have no frame rate; got no canvas: connect LTX-2 Canvas"):
        node("LTX2_EncodeVideo", video=images, video_vae=video_vae, start=0.0)


def test_a_silent_video_has_no_sound_and_nothing_can_be_made_of_it(node, error, clip, video_vae, audio_vae):
    _, audio, canvas = node("LTX2_EncodeVideo", video=clip(9), video_vae=video_vae, start=0.0)
    assert audio is None
    with pytest.raises(error, match="got none: the video is silent"):
        node("LTX2_EncodeAudio", audio=audio, audio_vae=audio_vae, start=0.0, canvas=canvas)


class AbstractVideo(ABC):
    """As ComfyUI's: who does not read a file is written to one, compressed, when a stream is asked for."""

    @abstractmethod
    def get_components(self): ...

    def get_stream_source(self):
        raise AssertionError("pictures in memory must not go through a file")

    def get_active_trim_window(self):
        return 0.0, 0.0


class InMemory(AbstractVideo):
    """As Create Video makes it."""

    def __init__(self, parts):
        self.parts = parts

    def get_components(self):
        return self.parts


class Trimmed(AbstractVideo):
    """As Trim Video makes it: a window of a file."""

    def __init__(self, video, start, duration):
        self.video, self.window = video, (start, duration)

    def get_components(self):
        raise AssertionError("a file must be read as a stream")

    def get_stream_source(self):
        return self.video.get_stream_source()

    def get_active_trim_window(self):
        return self.window


def test_a_video_in_memory_needs_no_file(node, pack, video_vae):
    parts = pack("nodes.host.headless.video").VideoComponents(pictures(12, 64, 96), Fraction(24), tone(1))
    latent, audio, canvas = node("LTX2_EncodeVideo", video=InMemory(parts), video_vae=video_vae, start=0.0)
    assert (canvas.frames, latent["samples"].shape[2]) == (9, 2)
    assert torch.equal(audio["waveform"], parts.audio["waveform"][..., : 9 * RATE // 24])


def test_a_trimmed_video_is_a_window_of_its_file(pack, error, clip):
    footage_of = pack("nodes.host.video_input").footage_of
    whole = clip(49)
    assert footage_of(whole, 0.0).seconds == Fraction(49, 24)
    assert footage_of(whole, 1.0).seconds == Fraction(25, 24)
    assert footage_of(Trimmed(whole, 1.0, 0.5), 0.0).seconds == Fraction(1, 2)
    window = footage_of(Trimmed(whole, 0.5, 1.0), 0.25)
    assert window.seconds == Fraction(3, 4)
    (first,) = window.frames(Fraction(24), 1)
    (expected,) = footage_of(whole, 0.75).frames(Fraction(24), 1)
    assert torch.equal(first, expected)
    with pytest.raises(error, match="lasts 0.5 s; got 0.7 s"):
        footage_of(Trimmed(whole, 1.0, 0.5), 0.7)
    with pytest.raises(error, match="video must be a VIDEO or an IMAGE; got str"):
        footage_of("clip.mp4", 0.0)


def test_sound_gets_the_length_of_its_clip(node, pack, canvas, audio_vae):
    sound, wanted = tone(3.0), canvas(96, 64, 25, 24.0)
    (by_canvas,) = node("LTX2_EncodeAudio", audio=sound, audio_vae=audio_vae, start=0.0, canvas=wanted)
    video, empty = pack("ltx2.latents").empty(wanted, 1)
    (by_video,) = node("LTX2_EncodeAudio", audio=sound, audio_vae=audio_vae, start=0.0, video=video)
    assert by_canvas["samples"].shape == empty["samples"].shape == (1, 8, 26, 16)
    assert torch.equal(by_canvas["samples"], by_video["samples"])
    assert by_video["ltx2"].frame_rate == 24.0
    later = {**sound, "waveform": sound["waveform"][..., RATE:]}
    (cut,) = node("LTX2_EncodeAudio", audio=later, audio_vae=audio_vae, start=0.0, canvas=wanted)
    (started,) = node("LTX2_EncodeAudio", audio=sound, audio_vae=audio_vae, start=1.0, canvas=wanted)
    assert torch.equal(cut["samples"], started["samples"])


def test_exactly_one_thing_says_how_long_the_sound_is(node, pack, error, canvas, audio_vae):
    wanted = canvas(96, 64, 25, 24.0)
    video, audio = pack("ltx2.latents").empty(wanted, 1)
    for given, message in (
        ({}, "got neither: connect one"),
        ({"canvas": wanted, "video": video}, "got both: connect one"),
        ({"video": audio}, "are video and audio swapped"),
        ({"video": {"samples": video["samples"]}}, "must carry its frame rate"),
        ({"canvas": 3}, "canvas must come from LTX-2 Canvas; got int"),
    ):
        with pytest.raises(error, match=message):
            node("LTX2_EncodeAudio", audio=tone(1), audio_vae=audio_vae, start=0.0, **given)
    with pytest.raises(error, match="mix it down to stereo"):
        node("LTX2_EncodeAudio", audio=tone(1, 6), audio_vae=audio_vae, start=0.0, canvas=wanted)


def test_encoding_a_video_stops_between_chunks_when_it_is_cancelled(node, pack, host, clip, video_vae):
    convolution = pack("ltx2.networks.video_vae.convolution").PaddedConv3d
    last_channels = video_vae.config.latent_channels + 1
    chunks = []

    def cancel(module, args, output):
        if isinstance(module, convolution) and output.shape[1] == last_channels:
            chunks.append(output.shape[2])
            host.cancellation.request()

    handle = torch.nn.modules.module.register_module_forward_hook(cancel)
    with pytest.raises(pack("nodes.host.headless.cancellation").Interrupted):
        node("LTX2_EncodeVideo", video=clip(241), video_vae=video_vae, start=0.0)
    handle.remove()
    assert chunks == [4], "25 frames of 241"
