"""LTX-2 Step Cache: a guider that may leave steps out, what its widgets mean, and what the sampler reports."""

from __future__ import annotations

import io

import pytest
import torch

GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
SIGMAS = torch.linspace(1, 0, 17)


@pytest.fixture
def nodes(pack, tiny_models, tmp_path):
    """(a guider of the tiny model, `sample(guider)`, the node)."""
    folders = [tmp_path / name for name in ("input", "output")]
    with pack("nodes.host.headless.session").session(
        tiny_models("2.3"), *folders, device="cpu", temp=tmp_path / "temp", stream=io.StringIO()
    ) as executor:

        def run(node_id, **values):
            return executor.classes[f"LTX2_{node_id}"].execute(**values)

        loaded = run("LoadCheckpoint", checkpoint="ltx-2.3-22b-distilled-1.1.safetensors", text_encoder=GEMMA).args
        (prompt,) = run("EncodePrompt", text_encoder=loaded[1], text="A bell rings.", cache=False).args
        (guider,) = run("Guider", transformer=loaded[0], positive=prompt).args
        video = {"samples": torch.zeros(1, 128, 2, 2, 2), "ltx2": pack("ltx2.latents").Clip(24.0)}

        def sample(guider):
            return run("Sample", guider=guider, seed=3, solver="euler", sigmas=SIGMAS, video=video)

        yield guider, sample, pack("nodes.step_cache").StepCache


def test_it_is_off_unless_told_otherwise(nodes):
    guider, sample, node = nodes
    defaults = {each.id: each.default for each in node.define_schema().inputs if hasattr(each, "default")}
    assert list(defaults) == ["video_threshold", "audio_threshold", "first_steps", "last_steps"]
    plain, own = sample(guider), sample(node.execute(guider, **defaults).args[0])
    assert torch.equal(plain.args[0]["samples"], own.args[0]["samples"])
    assert "lossy" not in plain.ui["ltx2_report"][0]
    assert own.ui["ltx2_report"][0]["lossy"][0]["note"] == "off"


def test_the_report_counts_what_was_left_out(nodes, caplog):
    guider, sample, node = nodes
    (cached,) = node.execute(guider, 100.0).args
    assert cached.prompts.caching.audio == 100.0
    assert guider.prompts.caching is None, "the guider that came in is as it was"
    with caplog.at_level("INFO", "ltx2"):
        (report,) = sample(cached).ui["ltx2_report"]
    counts = {"saved": 10, "of": 16, "video": 10, "audio": None}
    assert report["lossy"] == ({"kind": "step_cache", "counts": counts, "note": None},)
    assert list(report)[-1] == "lossy"
    assert report["passes"] == 6
    assert any("; lossy: step_cache 10 of 16" in line for line in caplog.messages)


def test_every_widget_reaches_its_value(nodes):
    guider, _, node = nodes
    (cached,) = node.execute(guider, 0.1, 0.2, 3, 1).args
    caching = cached.prompts.caching
    assert (caching.video, caching.audio, caching.first_steps, caching.last_steps) == (0.1, 0.2, 3, 1)


def test_what_is_no_guider_is_refused(nodes, error):
    with pytest.raises(error, match="guider must come from LTX-2 Guider; got int"):
        nodes[2].execute(3, 0.1)
