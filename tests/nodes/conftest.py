"""Loads the pack by path, under a name that is no identifier, as ComfyUI does; makes hosts and nodes to try it with."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GEMMA = "gemma-3-12b-it-qat-q4_0-unquantized"
PACK = str(ROOT / "custom_nodes" / "comfyui-ltx2").replace(".", "_x_")  # ComfyUI's own rule


def load_pack(name: str = PACK):
    """The pack's root module."""
    if name not in sys.modules:
        folder = [str(ROOT)]
        spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=folder)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    """Commands keep prompts for the next run; tests must not find those of earlier ones, nor leave any."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def pack():
    """`pack("nodes.host")` imports that module of the pack."""
    load_pack()
    return lambda module: importlib.import_module(f"{PACK}.{module}")


@pytest.fixture
def host(pack, tmp_path):
    """A headless host on empty folders, in use; its progress goes to `host.stream`."""
    stream = io.StringIO()
    folders = [tmp_path / name for name in ("models", "input", "output")]
    for folder in folders:
        folder.mkdir()
    with pack("nodes.host.headless.host").HeadlessHost(*folders, temp=tmp_path / "temp", stream=stream) as host:
        host.stream = stream
        pack("nodes.host").use(host)
        yield host


@pytest.fixture
def infos(pack, host):
    """What ComfyUI tells of each node, by its id."""
    return {cls.GET_SCHEMA().node_id: cls.GET_NODE_INFO_V1() for cls in pack("nodes").node_classes()}


@pytest.fixture
def second_device(pack, monkeypatch):
    """A device with 60 GB free, in use; what is pinned for it must be given back."""
    from second_device import SecondDevice  # late: programs of some tests import this file by itself

    device = SecondDevice(60 * 2**30)
    device.installed(monkeypatch, pack("ltx2.runtime.offload.reading").Reader)
    with device.in_use():
        yield device
        pack("nodes.host.networks").CACHE.clear()
    assert not device.pinned


@pytest.fixture
def device_name(request):
    """Where `distilled` computes; a test on both devices parametrises it with "cpu" and "cuda:0"."""
    name = getattr(request, "param", "cpu")
    if name != "cpu":
        request.getfixturevalue("second_device")
    return name


@pytest.fixture
def distilled(pack, tiny_models, tmp_path, device_name):
    """(`run("Guider", transformer=...)` runs a node; the inputs of LTX-2 Sample with the distilled tiny model)."""
    folders = [tmp_path / name for name in ("input", "output")]
    with pack("nodes.host.headless.session").session(
        tiny_models("2.3"), *folders, device=device_name, temp=tmp_path / "temp", stream=io.StringIO()
    ) as executor:

        def run(node_id, **values):
            return executor.classes[f"LTX2_{node_id}"].execute(**values)

        loaded = run("LoadCheckpoint", checkpoint="ltx-2.3-22b-distilled-1.1.safetensors", text_encoder=GEMMA).args
        (prompt,) = run("EncodePrompt", text_encoder=loaded[1], text="A bell rings.", cache=False).args
        (guider,) = run("Guider", transformer=loaded[0], positive=prompt).args
        yield run, {"guider": guider, "seed": 3}


@pytest.fixture
def make_node(pack):
    """`make_node("Add", inputs, outputs, function)` is a node class whose `runs` counts its executions.

    Classes are made by `type`: the ComfyUI Manager takes every `class ...(io.ComfyNode)` for a node of the pack.
    """
    headless = pack("nodes.host.headless.io")

    def make(node_id, inputs=(), outputs=(), function=None, *, methods=None, **schema):
        runs = []

        def define_schema(cls):
            fields = {"inputs": list(inputs), "outputs": list(outputs), **schema}
            return headless.Schema(node_id=node_id, **fields)

        def execute(cls, **values):
            runs.append(values)
            result = function(cls, **values) if function else ()
            return result if isinstance(result, headless.NodeOutput) else headless.NodeOutput(*result)

        own = {"define_schema": define_schema, "execute": execute, **(methods or {})}
        return type(node_id, (headless.ComfyNode,), {**{k: classmethod(v) for k, v in own.items()}, "runs": runs})

    return make


@pytest.fixture
def run_prompt(pack, tmp_path):
    """`run_prompt(models, prompt)` runs an API graph headless; its Result holds every node's outputs."""
    session = pack("nodes.host.headless.session").session

    def run(models: Path, prompt: dict):
        folders = [tmp_path / name for name in ("input", "output")]
        with session(models, *folders, device="cpu", temp=tmp_path / "temp", stream=io.StringIO()) as executor:
            return executor.run(prompt)

    return run


@pytest.fixture
def api_prompt():
    """`api_prompt(name)` is the shipped API graph of that name, to be changed at will."""
    return lambda name: json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture
def node(pack, host):
    """`node("LTX2_ApplyGuides")` is that node's class."""
    classes = {cls.GET_SCHEMA().node_id: cls for cls in pack("nodes").node_classes()}
    return classes.__getitem__


@pytest.fixture
def error(pack):
    return pack("ltx2.errors").LTX2Error


@pytest.fixture
def checkpoint(tiny_models):
    return next((tiny_models("2.3") / "checkpoints").glob("*dev*"))


@pytest.fixture
def text_encoder(pack, tiny_models):
    """The recipe of the tiny set's text encoder; no network outlives the test."""
    models = tiny_models("2.3")
    gemma = next(folder for folder in (models / "text_encoders").iterdir() if folder.is_dir())
    yield pack("ltx2.recipe").TextEncoderRecipe.open(gemma, next((models / "checkpoints").glob("*dev*")))
    pack("nodes.host.networks").CACHE.clear()


@pytest.fixture
def audio_vae(pack, checkpoint):
    return pack("ltx2.recipe").AudioVAERecipe.open(checkpoint)
