"""Previews in a real ComfyUI: what a browser is sent while a clip is sampled, and who makes the pictures."""

from __future__ import annotations

import io
import json
import struct
import threading
import uuid

import pytest
from PIL import Image

websockets = pytest.importorskip("websockets.sync.client", reason="no websockets to listen with")

NAME = "LTX-2 Text to Video Distilled"
PREVIEW, TEXT, PREVIEW_WITH_METADATA = 1, 3, 4


def watched(server, prompt, *, knows_metadata=True):
    """(binary messages, texts) that a browser's websocket got while a graph ran to its end."""
    client_id, binary, texts = str(uuid.uuid4()), [], []

    def listen(messages):
        for message in messages:
            binary.append(message) if isinstance(message, bytes) else texts.append(json.loads(message))

    url = f"ws://127.0.0.1:{server.port}/ws?clientId={client_id}"
    with websockets.connect(url, max_size=None, proxy=None) as opened:
        if knows_metadata:
            flags = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}
            opened.send(json.dumps(flags))
        thread = threading.Thread(target=listen, args=(opened,))
        thread.start()
        try:
            queued = server.post("/prompt", {"prompt": prompt, "client_id": client_id})
            history = server.finished(queued["prompt_id"])
        finally:
            opened.close()
            thread.join()
    assert history["status"]["status_str"] == "success", (history["status"], server.log())
    return binary, texts


def pictures_of(messages):
    """The JPEGs of binary messages, with what is told about them (None for the older kind); texts are none."""
    pictures = []
    for message in messages:
        (kind,) = struct.unpack(">I", message[:4])
        if kind == TEXT:  # a node says that loading takes long: so it does on a busy machine
            continue
        assert kind in (PREVIEW, PREVIEW_WITH_METADATA)
        (length,) = struct.unpack(">I", message[4:8])
        start, about = (8, None) if kind == PREVIEW else (8 + length, json.loads(message[8 : 8 + length]))
        pictures.append((Image.open(io.BytesIO(message[start:])), about))
    return pictures


def prompt_of(small_prompt, seed):
    prompt = small_prompt(NAME, prefix="previews")
    for node in prompt.values():
        if node["class_type"] == "LTX2_Sample":
            node["inputs"]["seed"] = seed
    return prompt


@pytest.fixture(scope="module")
def previewing(start_server):
    return start_server("--preview-method", "auto")


@pytest.mark.parametrize("knows_metadata", [True, False])
def test_a_browser_is_sent_sheets_of_several_frames(previewing, small_prompt, knows_metadata):
    prompt = prompt_of(small_prompt, 100 + knows_metadata)
    start = len(previewing.log())
    binary, texts = watched(previewing, prompt, knows_metadata=knows_metadata)
    pictures = pictures_of(binary)
    assert pictures
    samplers = {id for id, node in prompt.items() if node["class_type"] == "LTX2_Sample"}
    for picture, about in pictures:
        assert (picture.format, picture.mode, max(picture.size)) == ("JPEG", "RGB", 512)
        assert (about is not None) == knows_metadata
        assert about is None or about["node_id"] in samplers
    assert "Traceback" not in previewing.log()[start:]
    executed = {text["data"]["node"]: text["data"]["output"] for text in texts if text["type"] == "executed"}
    for sampler in samplers:
        (report,) = executed[sampler]["ltx2_report"]
        assert report["device"] == "cpu"
        assert report["passes"] >= report["steps"] > 0


def test_taesd_falls_to_the_fitted_colours(start_server, small_prompt):
    server = start_server("--preview-method", "taesd")
    binary, _ = watched(server, prompt_of(small_prompt, 7))
    assert pictures_of(binary)
    assert "Traceback" not in server.log()


def test_no_previews_means_none_and_no_work(server, small_prompt):
    binary, _ = watched(server, prompt_of(small_prompt, 8))  # ComfyUI's default is none
    assert [message for message in binary if struct.unpack(">I", message[:4])[0] != TEXT] == []
    assert "fitting the colours" not in server.log()


_PATCHED = """
import latent_preview
from comfy.cli_args import LatentPreviewMethod, args
args.preview_method = LatentPreviewMethod.{method}
seen = []

class WrappedPreviewer(latent_preview.LatentPreviewer):  # as VideoHelperSuite's
    def __init__(self, previewer, rate):
        self.rate = rate
        assert not hasattr(previewer, "taesd")
        self.latent_rgb_factors = previewer.latent_rgb_factors
        self.latent_rgb_factors_bias = previewer.latent_rgb_factors_bias
        self.latent_rgb_factors_reshape = getattr(previewer, "latent_rgb_factors_reshape", None)

    def decode_latent_to_preview_image(self, preview_format, x0):
        assert x0.ndim == 5
        x0 = x0.movedim(2, 1)
        x0 = x0.reshape((-1,) + x0.shape[-3:])
        factors = self.latent_rgb_factors.to(dtype=x0.dtype, device=x0.device)
        bias = self.latent_rgb_factors_bias.to(dtype=x0.dtype, device=x0.device)
        image = torch.nn.functional.linear(x0.movedim(1, -1), factors, bias=bias)
        seen.append((preview_format, list(image.shape), self.rate))
        {after}

original = latent_preview.get_previewer
def get_previewer(device, latent_format, *args, **kwargs):
    previewer = original(device, latent_format, *args, **kwargs)
    if previewer is None:
        return None
    rates = {{"Mochi": 24 // 6, "LTXV": 24 // 8}}
    return WrappedPreviewer(previewer, rates.get(latent_format.__class__.__name__, 8))
latent_preview.get_previewer = get_previewer

colours = pack("ltx2.preview.colours").Colours(torch.randn(3, 128), torch.zeros(3))
asked = []
shown = []
def ask():
    asked.append(1)
    return colours
with host.progress("sample") as on_step:
    show = host.previewer(ask)
    host._progress.show = shown.append
    if show:
        for _ in range(3):
            show(torch.randn(1, 128, 5, 4, 6))
answer = [seen, len(asked), len(shown), show is None]
"""


def patched(in_comfyui, method, after="return None"):
    return in_comfyui(_PATCHED.format(method=method, after=after))


def test_video_helper_suites_wrapper_gets_clips_and_sends_them_itself(in_comfyui):
    seen, asked, shown, _ = patched(in_comfyui, "Latent2RGB")
    assert seen == [["JPEG", [5, 4, 6, 3], 3]] * 3
    assert (asked, shown) == (1, 0)


def test_a_wrapper_that_fails_is_asked_no_more(in_comfyui):
    seen, _, shown, _ = patched(in_comfyui, "Auto", "raise ZeroDivisionError('theirs')")
    assert (len(seen), shown) == (1, 0)


def test_none_is_respected_before_anything_is_computed(in_comfyui):
    assert patched(in_comfyui, "NoPreviews") == [[], 0, 0, True]
