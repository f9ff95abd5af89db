"""What LTX-2 Sample tells besides its latents, and noise that another node makes."""

from __future__ import annotations

from functools import partial

import pytest
import torch

SIGMAS = torch.tensor([1.0, 0.7, 0.4, 0.0])


@pytest.fixture
def sample(distilled):
    """`sample(video=..., audio=..., ...)` is a NodeOutput of the distilled tiny model."""
    run, given = distilled
    defaults = {**given, "solver": "euler", "sigmas": SIGMAS}
    return lambda **values: run("Sample", **{**defaults, **values})


@pytest.fixture
def latents(pack):
    Clip = pack("ltx2.latents").Clip
    video = {"samples": torch.zeros(1, 128, 2, 2, 2), "ltx2": Clip(24.0)}
    return {"video": video, "audio": {"samples": torch.zeros(1, 8, 9, 16), "ltx2": Clip(24.0)}}


class Noise:
    """As ComfyUI's Random Noise: one generator, over the parts of what is nested."""

    def __init__(self, seed, draw=torch.randn):
        self.seed, self.draw, self.asked = seed, draw, []

    def generate_noise(self, latent):
        samples = latent["samples"]
        generator = torch.Generator().manual_seed(self.seed)
        self.asked.append(samples)
        make = partial(self.draw, generator=generator)
        if not samples.is_nested:
            return make(samples.size(), dtype=samples.dtype, layout=samples.layout)
        return type(samples)(*(make(part.size()) for part in samples.unbind()))


@pytest.mark.parametrize("names", [("video", "audio"), ("video",), ("audio",)])
@pytest.mark.parametrize("solver", ["euler", "euler_ancestral"])
def test_noise_of_a_seed_is_that_of_the_widget(sample, latents, names, solver):
    given = {name: latents[name] for name in names}
    noise = Noise(3)
    own, others = sample(solver=solver, **given).args, sample(solver=solver, seed=99, noise=noise, **given).args
    assert len(noise.asked) == 1
    for one, other in zip(own, others, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one["samples"], other["samples"])


def test_guides_get_the_noise_of_the_seed_as_well(sample, latents, pack):
    guide = pack("ltx2.conditioning.frames").AppendedFrames(torch.randn(1, 128, 1, 2, 2), 8, strength=0.6)
    video = {**latents["video"], "ltx2": pack("ltx2.latents").Clip(24.0, (guide,))}
    own, other = (sample(video=video, **values).args[0]["samples"] for values in ({}, {"noise": Noise(3), "seed": 4}))
    assert torch.equal(own, other)


def test_seeds_beyond_ours_and_other_noise_are_used(sample, latents):
    large = sample(noise=Noise(2**63 + 5), solver="euler_ancestral", **latents).args[0]["samples"]
    assert torch.isfinite(large).all()
    zeros = sample(noise=Noise(3, lambda size, **_: torch.zeros(size)), **latents).args[0]["samples"]
    assert not torch.equal(zeros, sample(**latents).args[0]["samples"])


def test_noise_that_does_not_fit_is_refused(sample, latents, error):
    with pytest.raises(error, match=r"noise must be a NOISE \(a seed and generate_noise\); got int"):
        sample(noise=3, **latents)
    with pytest.raises(
        error, match=r"noise must have the shape of the latents, \[\[1, 128, 2, 2, 2\]\]; got \[\[2\]\]"
    ):
        sample(noise=Noise(3, lambda size, **_: torch.zeros(2)), video=latents["video"])
    with pytest.raises(error, match="noise must be finite; got NaN or infinity"):
        sample(noise=Noise(3, lambda size, **_: torch.full(size, torch.nan)), **latents)


def test_the_run_report(sample, latents, caplog):
    with caplog.at_level("INFO", "ltx2"):
        (report,) = sample(solver="res_2s", **latents).ui["ltx2_report"]
    assert list(report) == [
        *("solver", "steps", "passes", "seconds", "seconds_per_step", "precision", "weights", "device", "tokens"),
        *("estimated_bytes", "peak_bytes"),
    ]
    assert (report["solver"], report["steps"], report["precision"], report["device"]) == ("res_2s", 3, "float32", "cpu")
    assert report["passes"] == 7  # two evaluations a step and one at the end, without guidance
    assert report["tokens"] == {"video": 8, "audio": 9}
    assert report["weights"] == {"bfloat16": sum(report["weights"].values())}
    assert report["seconds"] > 0
    assert report["seconds_per_step"] == pytest.approx(report["seconds"] / 3, abs=1e-3)
    assert report["estimated_bytes"] > 0
    assert report["peak_bytes"] is None
    (line,) = [record.getMessage() for record in caplog.records if "sampled" in record.getMessage()]
    assert line.startswith("sampled 3 steps of res_2s, 7 passes, in ")
    assert "on cpu in float32; weights: " in line


def test_sound_alone_has_no_video_tokens(sample, latents):
    (report,) = sample(audio=latents["audio"]).ui["ltx2_report"]
    assert report["tokens"] == {"video": None, "audio": 9}
    assert report["passes"] == 3
