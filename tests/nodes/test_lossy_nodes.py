"""Nodes that make runs faster and less exact: neutral by default, every widget reaches its value, and reports."""

from __future__ import annotations

import pytest
import torch

SIGMAS = torch.linspace(1, 0, 17)


@pytest.fixture
def step_cache(pack, host):
    return pack("nodes.step_cache").StepCache


@pytest.fixture
def token_tiling(pack, host):
    return pack("nodes.token_tiling").TokenTiling


@pytest.fixture
def sample(pack, distilled):
    """(a guider, `sample(guider, sigmas)`, which samples a video of four tokens in height and width)."""
    run, given = distilled
    video = {"samples": torch.zeros(1, 128, 2, 4, 4), "ltx2": pack("ltx2.latents").Clip(24.0)}

    def sample(guider, sigmas=SIGMAS):
        return run("Sample", guider=guider, seed=3, solver="euler", sigmas=sigmas, video=video)

    return given["guider"], sample


def defaults_of(node):
    return {each.id: each.default for each in node.define_schema().inputs if hasattr(each, "default")}


def test_both_are_off_unless_told_otherwise(sample, step_cache, token_tiling):
    guider, run = sample
    plain = run(guider)
    assert "lossy" not in plain.ui["ltx2_report"][0]
    assert list(defaults_of(step_cache)) == ["video_threshold", "audio_threshold", "first_steps", "last_steps"]
    (cached,) = step_cache.execute(guider, **defaults_of(step_cache)).args
    (tiled,) = token_tiling.execute(cached, **defaults_of(token_tiling)).args
    own = run(tiled)
    assert torch.equal(plain.args[0]["samples"], own.args[0]["samples"])
    assert [one["note"] for one in own.ui["ltx2_report"][0]["lossy"]] == ["off"]


def test_the_report_counts_what_a_cache_left_out(sample, step_cache, caplog):
    guider, run = sample
    (cached,) = step_cache.execute(guider, 100.0).args
    assert cached.prompts.caching.audio == 100.0
    assert guider.prompts.caching is None, "the guider that came in is as it was"
    with caplog.at_level("INFO", "ltx2"):
        (report,) = run(cached).ui["ltx2_report"]
    counts = {"saved": 10, "of": 16, "video": 10, "audio": None}
    assert report["lossy"] == ({"kind": "step_cache", "counts": counts, "note": None},)
    assert list(report)[-1] == "lossy"
    assert report["passes"] == 6
    assert any("; lossy: step_cache 10 of 16" in line for line in caplog.messages)


def test_the_report_tells_of_tiles_and_the_estimate_follows_them(sample, token_tiling):
    guider, run = sample
    sigmas = SIGMAS[::8]
    (plain,) = run(guider, sigmas).ui["ltx2_report"]
    (tiled,) = run(token_tiling.execute(guider, 2, 1, 32).args[0], sigmas).ui["ltx2_report"]
    assert [one["counts"] for one in tiled["lossy"]] == [{"most": 24, "of": 32, "tiles": 2}]
    assert tiled["estimated_bytes"] < plain["estimated_bytes"]


def test_every_widget_reaches_its_value(sample, step_cache, token_tiling):
    guider, _ = sample
    caching = step_cache.execute(guider, 0.1, 0.2, 3, 1).args[0].prompts.caching
    assert (caching.video, caching.audio, caching.first_steps, caching.last_steps) == (0.1, 0.2, 3, 1)
    tiling = token_tiling.execute(guider, 3, 2, 96).args[0].prompts.tiling
    assert (tiling.columns, tiling.rows, tiling.overlap) == (3, 2, 96)


def test_what_is_no_guider_is_refused(step_cache, token_tiling, error):
    for call in (lambda: step_cache.execute(3, 0.1), lambda: token_tiling.execute(3, 1, 1)):
        with pytest.raises(error, match="guider must come from LTX-2 Guider; got int"):
            call()
