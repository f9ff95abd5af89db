"""Previews of the clip while it is sampled: who sees them, of what they are made, and that they never fail a run."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
import torch

GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
SIGMAS = torch.tensor([1.0, 0.7, 0.4, 0.0])


class Run:
    """Sampling with the distilled tiny model, watched by `pictures` where it is wanted."""

    def __init__(self, executor, pack, host):
        self.executor, self.host, self.pictures = executor, host, []
        loaded = self.node(
            "LoadCheckpoint", checkpoint="ltx-2.3-22b-distilled-1.1.safetensors", text_encoder=GEMMA
        ).args
        self.vae = loaded[2]
        (prompt,) = self.node("EncodePrompt", text_encoder=loaded[1], text="A bell rings.", cache=False).args
        (self.guider,) = self.node("Guider", transformer=loaded[0], positive=prompt).args
        Clip = pack("ltx2.latents").Clip
        self.video = {"samples": torch.zeros(1, 128, 5, 2, 3), "ltx2": Clip(24.0)}
        self.audio = {"samples": torch.zeros(1, 8, 34, 16), "ltx2": Clip(24.0)}

    def node(self, node_id, **values):
        return self.executor.classes[f"LTX2_{node_id}"].execute(**values)

    def sample(self, **values):
        given = {"guider": self.guider, "sigmas": SIGMAS, "solver": "euler", "seed": 3, "video": self.video, **values}
        return self.node("Sample", **given).args[0]


@pytest.fixture
def run(pack, tiny_models, tmp_path, monkeypatch):
    """A Run whose host is watched; all previews are due."""
    folders = [tmp_path / name for name in ("input", "output")]
    with pack("nodes.host.headless.session").session(
        tiny_models("2.3"), *folders, device="cpu", temp=tmp_path / "temp", stream=io.StringIO()
    ) as executor:
        made = Run(executor, pack, pack("nodes.host").current())
        made.host._on_preview = made.pictures.append
        monkeypatch.setattr(pack("nodes.preview"), "_SECONDS_BETWEEN", 0.0)
        pack("nodes.preview")._tell_once.cache_clear()
        yield made


def folder_of(run):
    return run.host.cache_folder() / "previews"


def test_every_prediction_is_shown_and_changes_no_bit(run, caplog):
    with caplog.at_level("INFO", "ltx2"):
        watched = run.sample()
    assert len(run.pictures) == 3
    for picture in run.pictures:
        assert (picture.mode, max(picture.size)) == ("RGB", 512)
        assert len(picture.getcolors(2**20)) > 50
    assert run.pictures[0].tobytes() != run.pictures[-1].tobytes()
    assert sum("fitting the colours" in record.getMessage() for record in caplog.records) == 1
    run.host._on_preview = None
    assert torch.equal(run.sample()["samples"], watched["samples"])


def test_colours_are_fitted_once_and_guides_are_left_out(run, pack, caplog):
    run.sample(sigmas=SIGMAS[2:], audio=run.audio)
    (kept,) = folder_of(run).iterdir()
    guide = pack("ltx2.conditioning.frames").AppendedFrames(torch.randn(1, 128, 1, 2, 3), 8, strength=1.0)
    video = {**run.video, "ltx2": pack("ltx2.latents").Clip(24.0, (guide,))}
    with caplog.at_level("INFO", "ltx2"):
        run.sample(sigmas=SIGMAS[2:], video=video, video_vae=run.vae)
    assert list(folder_of(run).iterdir()) == [kept]  # the same file, by whichever way it comes
    assert not any("fitting" in record.getMessage() for record in caplog.records)
    assert len(run.pictures) == 2


def test_nobody_looks_or_only_sound_means_no_work(run):
    run.sample(sigmas=SIGMAS[2:], video=None, audio=run.audio)
    run.host._on_preview = None
    run.sample(sigmas=SIGMAS[2:])
    assert not folder_of(run).exists()
    assert not run.pictures


def test_at_most_two_a_second(pack, host, monkeypatch):
    now = iter([10.0, 10.2, 10.5, 10.9, 11.0])
    monkeypatch.setattr(pack("nodes.preview"), "time", SimpleNamespace(monotonic=lambda: next(now)))
    shown = []
    show = pack("nodes.preview")._paced(shown.append)
    for number in range(5):
        show(number)
    assert shown == [0, 2, 4]


def test_without_a_vae_the_reason_is_logged_once_and_the_run_goes_on(run, pack, caplog, monkeypatch):
    def refuse(path):
        raise pack("ltx2.errors").ModelFileError("it holds no video VAE")

    monkeypatch.setattr(pack("nodes.preview").VideoVAERecipe, "open", refuse)
    for _ in range(2):
        assert torch.isfinite(run.sample(sigmas=SIGMAS[2:])["samples"]).all()
    assert [text for text in caplog.messages if "no preview while sampling: it holds no video VAE" in text] == [
        "no preview while sampling: it holds no video VAE; connect a video VAE to LTX-2 Sample where its file has none"
    ]
    assert not run.pictures


def test_cancelling_the_fit_cancels_the_run(run, pack, monkeypatch):
    module = pack("nodes.preview")
    fit = module.fit

    def cancelled(*args, on_step, **values):
        run.host.cancellation.request()
        return fit(*args, on_step=on_step, **values)

    monkeypatch.setattr(module, "fit", cancelled)
    with pytest.raises(pack("nodes.host.headless.cancellation").Interrupted):
        run.sample()
    monkeypatch.setattr(module, "fit", fit)
    run.host.cancellation.is_requested = False
    assert not folder_of(run).exists()
    run.sample()
    assert len(run.pictures) == 3
