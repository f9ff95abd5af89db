"""What every node keeps to: inputs stay as they are, equal inputs give equal results, wrong ones are refused.

Nodes are found by themselves. A socket type, or a widget whose default does not run on the tiny set, needs a row in the
tables below.
"""

from __future__ import annotations

import dataclasses
import io
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "nodes").glob("*.py"))]
NODE_IDS = sorted({node_id for text in SOURCES for node_id in re.findall(r'node_id="(LTX2_\w+)"', text)})

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
CHECKPOINT = "ltx-2.3-22b-dev.safetensors"
GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
RATE = 24.0
CANVAS = {"width": 64, "height": 64, "frames": 17, "frame_rate": RATE}

# Sockets by type; where nodes want different things of a type, by node and input, or by input.
SOCKETS = {
    "LTX2_TRANSFORMER": lambda kit: kit.result("LTX2_LoadTransformer")[0],
    "LTX2_TEXT_ENCODER": lambda kit: kit.result("LTX2_LoadTextEncoder")[0],
    "LTX2_VIDEO_VAE": lambda kit: kit.result("LTX2_LoadVideoVAE")[0],
    "LTX2_AUDIO_VAE": lambda kit: kit.result("LTX2_LoadAudioVAE")[0],
    "LTX2_VOCODER": lambda kit: kit.result("LTX2_LoadVocoder")[0],
    "LTX2_UPSAMPLER": lambda kit: kit.result("LTX2_LoadUpsampler")[0],
    "LTX2_CANVAS": lambda kit: kit.result("LTX2_Canvas")[0],
    "LTX2_CONDITIONING": lambda kit: kit.result("LTX2_EncodePrompt")[0],
    "LTX2_GUIDANCE": lambda kit: kit.result("LTX2_Guidance")[0],
    "LTX2_GUIDER": lambda kit: kit.result("LTX2_Guider")[0],
    "LTX2_GUIDES": lambda kit: kit.result("LTX2_ImageGuide")[0],
    "SIGMAS": lambda kit: kit.result("LTX2_ManualSchedule")[0],
    "LATENT": lambda kit: kit.video,
    "CONDITIONING": lambda kit: kit.result("LTX2_ConditioningToComfyUI")[0],
    "NOISE": lambda kit: EvenNoise(),
    "IMAGE": lambda kit: random(9, 64, 64, 3).clamp(0, 1),
    "MASK": lambda kit: torch.ones(1, 64, 64).tril(),
    "AUDIO": lambda kit: {"waveform": random(1, 2, 16000) / 8, "sample_rate": 16000},
    "VIDEO": lambda kit: kit.result("LTX2_DecodeVideo")[0],
}
SOCKETS_BY_NAME = {
    ("LTX2_DecodeAudio", "audio"): lambda kit: {**kit.audio, "samples": kit.audio["samples"][:, :, :3]},  # it is slow
    ("LTX2_EnhancePrompt", "image"): lambda kit: random(1, 64, 64, 3),
    "audio": lambda kit: kit.audio,
    "first_audio": lambda kit: kit.audio,
    "second_audio": lambda kit: kit.audio,
}
# One of two; what this very node makes; what only ComfyUI joins.
WITHOUT = {("LTX2_EncodeAudio", "video"), ("LTX2_ImageGuide", "guides"), ("LTX2_LatentsToComfyUI", "audio")}
# They make what only ComfyUI has: tests/comfyui/test_bridges.py runs them.
OF_COMFYUI = {"LTX2_EncodePromptForComfyUI", "LTX2_GuiderToComfyUI"}
# Widgets whose defaults name nothing, ask for too much, or do not fit a clip of 17 frames.
VALUES = {
    "checkpoint": CHECKPOINT,
    "text_encoder": GEMMA,
    "lora": "ltx-2.3-22b-distilled-lora-384-1.1.safetensors",
    ("LTX2_LoadUpsampler", "file"): "ltx-2.3-spatial-upscaler-x2-1.1.safetensors",
    ("LTX2_LoadLatents", "file"): lambda kit: kit.saved("LTX2_SaveLatents"),
    ("LTX2_LoadConditioning", "file"): lambda kit: kit.saved("LTX2_SaveConditioning"),
    "file": CHECKPOINT,
    ("LTX2_EmptyLatents", "scale"): "1",
    **{("LTX2_Canvas", name): value for name, value in CANVAS.items()},
    "text": "A bell rings.",
    ("LTX2_ManualSchedule", "text"): "1, 0.5, 0",
    "max_tokens": 4,
    "overlap": 0.4,
    ("LTX2_TokenTiling", "overlap"): 160,
    ("LTX2_FusedOperations", "enabled"): False,  # there is no GPU
    ("LTX2_CudaGraphs", "enabled"): False,  # likewise
    "spatial_factor": 1,
    "temporal_factor": 1,
}


def random(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(len(shape)))


class EvenNoise:
    """A NOISE of another pack."""

    seed = 7

    def generate_noise(self, latent):
        made = random(*latent["samples"].shape)
        if not latent["samples"].is_nested:
            return made
        return type(latent["samples"])(*(random(*each.shape) for each in latent["samples"].unbind()))


class Kit:
    """Makes real inputs for nodes, from the results of other nodes on the tiny set."""

    def __init__(self, pack, host):
        self.saved_files = host.saved_files
        self.classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
        self.error = pack("ltx2.errors").LTX2Error
        self.results = {}
        clip = pack("ltx2.latents").Clip(RATE)
        self.video = {"samples": random(1, 128, 3, 2, 2), "ltx2": clip}
        self.audio = {"samples": random(1, 8, 18, 16), "ltx2": clip}

    def declared(self, node_id):
        """(type, options, is optional) of each input by its name."""
        sides = self.classes[node_id].GET_NODE_INFO_V1()["input"]
        return {
            name: (kind, options, side == "optional")
            for side in ("required", "optional")
            for name, (kind, options) in sides.get(side, {}).items()
        }

    def sockets(self, node_id):
        """Names of the inputs without a widget, and whether they are optional."""
        return {n: optional for n, (kind, _, optional) in self.declared(node_id).items() if not is_widget(kind)}

    def inputs(self, node_id):
        made = {}
        for name, (kind, options, _) in self.declared(node_id).items():
            if (node_id, name) in WITHOUT:
                continue
            if not is_widget(kind):
                made[name] = self.socket(kind, node_id, name)
            elif (node_id, name) in VALUES or name in VALUES:
                value = VALUES.get((node_id, name), VALUES.get(name))
                made[name] = value(self) if callable(value) else value
            else:
                given = options.get("options", [None])[0]
                made[name] = options.get("default", given)
                assert made[name] is not None, f"{node_id}.{name} has no default: add a row to VALUES"
        return made

    def socket(self, kind, node_id, name):
        kinds = kind.split(",")
        for key in ((node_id, name), *([name] if "LATENT" in kinds else [])):
            if key in SOCKETS_BY_NAME:
                return SOCKETS_BY_NAME[key](self)
        assert kinds[0] in SOCKETS, f"{node_id}.{name}: a {kinds[0]} cannot be made: add a row to SOCKETS"
        return SOCKETS[kinds[0]](self)

    def execute(self, node_id, **values):
        return self.classes[node_id].execute(**values)

    def refusal(self, node_id, **values):
        """What the node says against these values; nothing where it takes them."""
        try:
            self.execute(node_id, **values)
        except self.error as error:
            return str(error)
        return ""

    def saved(self, node_id):
        """The name of a file that the node has saved, as loaders show it."""
        self.result(node_id)
        kind = node_id.removeprefix("LTX2_Save").lower()
        return self.saved_files(f".{kind}.safetensors")[0]

    def result(self, node_id):
        """Its outputs for such inputs, computed once."""
        if node_id not in self.results:
            self.results[node_id] = self.execute(node_id, **self.inputs(node_id)).args
        return self.results[node_id]


def is_widget(kind):
    return set(kind.split(",")) & WIDGETS


@pytest.fixture(scope="module")
def kit(pack, tiny_models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("properties")
    folders = [folder / name for name in ("input", "output")]
    for each in folders:
        each.mkdir()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(folders[0] / "example.png")
    HeadlessHost = pack("nodes.host.headless.host").HeadlessHost
    settings = {"temp": folder / "temp", "cache": folder / "cache", "device": "cpu", "stream": io.StringIO()}
    with HeadlessHost(tiny_models("2.3"), *folders, **settings) as host:
        pack("nodes.host").use(host)
        yield Kit(pack, host)


def snapshot(value):
    """Everything that `value` holds, in a form that does not change with it and can be compared."""
    if isinstance(value, torch.Tensor):
        return ("tensor", value.dtype, tuple(value.shape), value.detach().clone())
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, (tuple, list, set, frozenset)):
        return [type(value).__name__, *(snapshot(item) for item in value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: snapshot(getattr(value, field.name)) for field in dataclasses.fields(value) if field.compare
        }
    if hasattr(value, "get_stream_source"):
        return Path(value.get_stream_source()).read_bytes()
    return value


def differences(one, other, where=""):
    """Where two snapshots differ."""
    if type(one) is not type(other):
        return [f"{where}: {type(one).__name__} became {type(other).__name__}"]
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [f"{where}: keys {sorted(map(str, one.keys() ^ other.keys()))}"]
        return [each for key in one for each in differences(one[key], other[key], f"{where}.{key}")]
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return [f"{where}: length"]
        pairs = enumerate(zip(one, other, strict=True))
        return [each for index, (a, b) in pairs for each in differences(a, b, f"{where}[{index}]")]
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one.nan_to_num(), other.nan_to_num()) else [f"{where}: values"]
    return [] if one == other else [f"{where}: {one!r} became {other!r}"[:200]]


@pytest.mark.parametrize("node_id", sorted(set(NODE_IDS) - OF_COMFYUI))
def test_inputs_stay_as_they_are_and_equal_inputs_give_equal_results(kit, node_id):
    inputs = kit.inputs(node_id)
    before = snapshot(inputs)
    first = kit.execute(node_id, **inputs).args
    results = snapshot(first)
    changed = differences(before, snapshot(inputs), node_id)
    assert not changed, "the node changes its inputs: " + "; ".join(changed)
    second = kit.execute(node_id, **kit.inputs(node_id)).args
    assert not differences(results, snapshot(second), node_id), "equal inputs gave different results"
    assert not differences(results, snapshot(first), node_id), "the second run changed the first one's results"
    assert len(first) == len(kit.classes[node_id].GET_SCHEMA().outputs)


def test_the_frame_rate_is_never_guessed(kit):
    """Where another pack has dropped it, a latent stays without one, or is refused in words."""
    outcomes = {}
    for node_id in NODE_IDS:
        inputs = kit.inputs(node_id)
        bare = {n: {"samples": x["samples"]} for n, x in inputs.items() if isinstance(x, dict) and "samples" in x}
        if not bare or node_id == "LTX2_SetFrameRate":
            continue
        refusal = kit.refusal(node_id, **{**inputs, **bare})
        if "must run in ComfyUI" in refusal:
            continue
        outcomes[node_id] = "refused" if refusal else "left"
        assert not refusal or "frame rate" in refusal, f"{node_id}: {refusal}"
        results = () if refusal else kit.execute(node_id, **{**inputs, **bare}).args
        assert not any(isinstance(result, dict) and "ltx2" in result for result in results), node_id
    assert {outcomes["LTX2_Sample"], outcomes["LTX2_DecodeVideo"], outcomes["LTX2_Extend"]} == {"refused"}
    assert outcomes["LTX2_Freeze"] == outcomes["LTX2_DecodeAudio"] == "left"


WRONG = {
    "a text": "wrong",
    "a number": 3,
    "a scalar tensor": torch.tensor(3.0),
    "an empty dict": {},
    "an empty list": [],
    "nothing": None,
}


@pytest.mark.parametrize("node_id", NODE_IDS)
def test_wrong_values_on_sockets_are_refused_in_one_sentence(kit, node_id):
    """Whoever sends a graph can put a constant on any socket, and other packs can deliver anything."""
    for name, is_optional in kit.sockets(node_id).items():
        for what, wrong in WRONG.items():
            if wrong is None and is_optional:
                continue
            message = kit.refusal(node_id, **{**kit.inputs(node_id), name: wrong})
            assert message, f"{node_id} takes {what} as {name}"
            assert 20 < len(message) < 300, message
            assert "\n" not in message
            assert not message.endswith("."), message


@pytest.mark.parametrize("node_id", NODE_IDS)
def test_values_out_of_range_are_refused_before_anything_runs(kit, pack, make_node, node_id):
    headless, validation = pack("nodes.host.headless.io"), pack("nodes.host.headless.validation")
    sink = make_node("Sink", [headless.AnyType.Input("value")], is_output_node=True)
    classes = {**kit.classes, "Sink": sink}
    widgets = {n: options for n, (kind, options, _) in kit.declared(node_id).items() if is_widget(kind)}
    good = {name: value for name, value in kit.inputs(node_id).items() if name in widgets}
    for name, options in widgets.items():
        wrong = [options[end] + by for end, by in (("min", -1), ("max", 1)) if options.get(end) is not None]
        wrong += ["no such option"] if "options" in options else []
        for value in wrong:
            prompt = {"1": {"class_type": node_id, "inputs": {**good, name: value}}}
            prompt["2"] = {"class_type": "Sink", "inputs": {"value": ["1", 0]}}
            with pytest.raises(pack("nodes.host.graph.problems").GraphError) as caught:
                validation.validate(prompt, classes)
            problems = str(caught.value)
            assert name in problems, f"{node_id}.{name} = {value} is taken: {problems}"


def test_every_number_has_a_range(kit):
    for node_id in NODE_IDS:
        for name, (kind, options, _) in kit.declared(node_id).items():
            if {"INT", "FLOAT"} & set(kind.split(",")) and is_widget(kind):
                assert options.get("min") is not None, f"{node_id}.{name}"
                assert options.get("max") is not None, f"{node_id}.{name}"


def test_the_nodes_in_the_sources_are_the_nodes_of_the_pack(kit):
    assert set(NODE_IDS) == set(kit.classes)
