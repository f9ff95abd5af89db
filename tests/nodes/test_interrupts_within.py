"""Cancelling at any moment of any stage: nothing half-done stays, and the next run is as if it had not happened."""

from __future__ import annotations

import io
import random
import sys
from collections import Counter

import pytest

RANDOM_MOMENTS = 20
SIZE = {"width": 128, "height": 64, "frames": 9}
LOADING = {"_build", "_change"}


def place() -> tuple[str, str]:
    """(id of the node that runs, what it does now: "loading", "saving" or "computing"), read off the stack."""
    frame, doing, node = sys._getframe(2), "computing", ""
    while frame is not None:
        name = frame.f_code.co_name
        doing = "loading" if name in LOADING else "saving" if name == "remux" else doing
        node = frame.f_locals["node_id"] if name == "_run_node" else node
        frame = frame.f_back
    return node, doing


@pytest.fixture
def cancellation(pack):
    """One that cancels by itself: at the `moment`, (place, how often it was looked for there)."""
    module = pack("nodes.host.headless.cancellation")

    class AtMoment(module.Cancellation):
        moment: tuple[tuple[str, str], int] | None = None

        def __init__(self):
            super().__init__()
            self.looked = Counter()
            self.moments = []

        def check(self):
            where = place()
            self.looked[where] += 1
            self.moments.append((where, self.looked[where]))
            if self.moments[-1] == self.moment:
                raise module.Interrupted("cancelled")

        def start(self, moment=None):
            self.moment, self.looked, self.moments = moment, Counter(), []

    return AtMoment()


@pytest.fixture
def executor(pack, tiny_models, tmp_path, cancellation):
    folders = [tmp_path / name for name in ("input", "output")]
    options = {"device": "cpu", "temp": tmp_path / "temp", "stream": io.StringIO(), "cancellation": cancellation}
    with pack("nodes.host.headless.session").session(tiny_models("2.3"), *folders, **options) as executor:
        yield executor
    pack("nodes.host.networks").CACHE.clear()


def test_cancelling_at_twenty_random_moments_and_once_in_every_place(
    pack, executor, cancellation, api_prompt, tmp_path
):
    prompt = api_prompt("LTX-2 Text to Video")
    kinds = {id: node["class_type"] for id, node in prompt.items()}
    for id, node in prompt.items():
        if kinds[id] == "LTX2_Canvas":
            node["inputs"].update(SIZE)
        if kinds[id] == "LTX2_Schedule":
            node["inputs"]["steps"] = 2
        if kinds[id] in ("LTX2_EncodePrompt", "LTX2_NegativePrompt"):
            node["inputs"]["cache"] = False
    networks, interrupted = pack("nodes.host.networks"), pack("nodes.host.headless.cancellation").Interrupted

    def video() -> bytes:
        (file,) = (tmp_path / "output").rglob("*.mp4")
        try:
            return file.read_bytes()
        finally:
            file.unlink()

    executor.run(prompt)
    expected, moments = video(), cancellation.moments
    places = list(dict.fromkeys(where for where, _ in moments))
    assert {"LTX2_EncodePrompt", "LTX2_Sample", "LTX2_UpsampleLatent", "LTX2_DecodeAudio"} <= {
        kinds[id] for id, doing in places if id and doing == "loading"
    }
    assert {doing for _, doing in places} == {"loading", "computing", "saving"}
    counts = Counter(kinds.get(id) for (id, doing), _ in moments if doing == "computing")
    assert counts["LTX2_Sample"] > 50, "the transformer looks in every part of every block"
    assert min(counts[kind] for kind in ("LTX2_EncodePrompt", "LTX2_DecodeAudio", "LTX2_DecodeVideo")) > 10

    chance = random.Random(11)
    chosen = {*chance.sample(moments, RANDOM_MOMENTS), *((where, 1) for where in places)}
    executor._kept.clear()
    networks.CACHE.clear()
    reached = 0
    for moment in sorted(chosen, key=lambda each: (places.index(each[0]), each[1])):
        cancellation.start(moment)
        try:
            executor.run(prompt)
        except interrupted:
            reached += 1
        else:  # between nodes, or in what did not have to be done again
            assert video() == expected
            executor._kept.clear()
        assert not list(tmp_path.rglob("*.part")), moment
        assert not list((tmp_path / "output").rglob("*.mp4")), moment
    assert reached >= RANDOM_MOMENTS
    cancellation.start()
    executor.run(prompt)
    assert video() == expected, "as if never interrupted"


def test_the_next_borrow_after_a_cancelled_load_builds_anew(pack, host, checkpoint, cancellation):
    host.cancellation = cancellation
    cache, recipe = pack("nodes.host.networks").NetworkCache(), pack("ltx2.recipe").TransformerRecipe.open(checkpoint)
    cancellation.start((("", "loading"), 7))
    with pytest.raises(pack("nodes.host.headless.cancellation").Interrupted):
        cache.borrow(recipe)
    assert not cache._residents
    cancellation.start()
    (network,) = cache.borrow(recipe)
    assert all(not tensor.is_meta for tensor in network.parameters())
