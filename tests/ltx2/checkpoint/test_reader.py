"""The reader: wrong files are named for what they are, folders stay inside themselves, and RAM holds no second copy."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from ltx2.checkpoint.reader import Checkpoint
from ltx2.errors import ModelFileError

GOOD = save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}, {"model_version": "2.3.0"})
PICKLE = b"\x80\x04}\x94."  # an empty dict
INDEX = "model.safetensors.index.json"


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("archive/data.pkl", PICKLE)
    return stream.getvalue()


def with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


WRONG = {
    "cut off": (GOOD[:-4], r"must hold 1[\d,]+ bytes; it holds .* cut off, get it again"),
    "cut off in its header": (GOOD[:40], "cut off in its header.* get it again"),
    "empty": (b"", "empty: .* get it again"),
    "pickle": (PICKLE, "a pickle, which can run code; get the .safetensors version"),
    "torch.save": (archive(), "a zip archive.* a pickle, which can run code; get the .safetensors version"),
    "web page": (b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page .* log-in"),
    "web page after a byte order mark": (b"\xef\xbb\xbf\n <html></html>", "a web page"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a git-lfs pointer"),
    "JSON": (b'{"error": "gated repository, ask for access first"}', "a JSON text"),
    "GGUF": (b"GGUF\x03\x00\x00\x00" + bytes(64), "a GGUF file"),
    "noise": (bytes(range(200, 256)) * 4, "something else or damaged"),
    "a few bytes": (b"\x01", "something else or damaged"),
    "a list as header": (with_header([1]), "something else or damaged"),
    "a header with a hole": (with_header({"a": {"dtype": "F32", "shape": [1]}}), "header is damaged .*data_offsets"),
    "a header of words": (with_header({"a": "F32"}), "header is damaged"),
    "metadata that is a number": (with_header({"__metadata__": 5}), r"header is damaged \(its metadata .* got 5\)"),
    "metadata that is a list": (with_header({"__metadata__": [1]}), r"metadata must be an object of texts; got \[1\]"),
    "a version that is a number": (
        with_header({"__metadata__": {"model_version": 2}}),
        "metadata must be an object of",
    ),
    "deep nesting": ((10**5).to_bytes(8, "little") + b'{"a":' + b"[" * (10**5 - 5), "is damaged .*nested too deeply"),
    "a dtype that is a list": (with_header({"a": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}), "is damaged"),
    "shapes of words": (with_header({"a": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 0]}}), "is damaged"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_files_are_named(tmp_path, what):
    content, message = WRONG[what]
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"(?s)^model.safetensors.*{message}"):
        Checkpoint.open(file)


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelFileError, match="gone.safetensors: there is no such file"):
        Checkpoint.open(tmp_path / "gone.safetensors")


def test_a_good_file(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(GOOD)
    checkpoint = Checkpoint.open(file)
    assert checkpoint.shapes() == {"a": (2, 3), "b": (1,)}
    assert checkpoint.metadata == {"model_version": "2.3.0"}
    assert checkpoint.config == {}
    assert torch.equal(checkpoint.read("a"), torch.arange(6.0).reshape(2, 3))


def test_metadata_of_null_is_none(tmp_path):
    """safetensors itself reads such a file."""
    file = tmp_path / "model.safetensors"
    file.write_bytes(with_header({"__metadata__": None}))
    assert Checkpoint.open(file).metadata == {}


@pytest.mark.parametrize("config", ["{broken", "[1, 2]", '{"a":' + "[" * 10**5])
def test_a_damaged_config(tmp_path, config):
    file = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1)}, file, {"config": config})
    with pytest.raises(ModelFileError, match="config is no JSON object .* get the file anew"):
        Checkpoint.open(file).config  # noqa: B018 - reading it is the test


@pytest.fixture
def folder(tmp_path):
    """A folder of two shards with their index."""
    folder = tmp_path / "shards"
    folder.mkdir()
    for name in ("one", "two"):
        save_file({name: torch.ones(2)}, folder / f"{name}.safetensors")
    write_index(folder, {name: f"{name}.safetensors" for name in ("one", "two")})
    return folder


def write_index(folder: Path, weight_map: object) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_one_checkpoint(folder):
    assert Checkpoint.open(folder).shapes() == {"one": (2,), "two": (2,)}
    (folder / INDEX).unlink()
    assert Checkpoint.open(folder).shapes() == {"one": (2,), "two": (2,)}


def test_a_missing_shard(folder):
    (folder / "two.safetensors").unlink()
    with pytest.raises(ModelFileError, match="1 of 2 shards are missing: two.safetensors; download"):
        Checkpoint.open(folder)


@pytest.mark.parametrize("absolute", [False, True])
def test_an_index_does_not_lead_out_of_its_folder(folder, absolute):
    outside = folder.parent / "secret.safetensors"
    save_file({"secret": torch.ones(2)}, outside)
    write_index(folder, {"secret": str(outside) if absolute else "../secret.safetensors"})
    with pytest.raises(ModelFileError, match="1 of 1 shards are missing"):
        Checkpoint.open(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1, "b": "c"}}'])
def test_a_damaged_index(folder, text):
    (folder / INDEX).write_text(text)
    with pytest.raises(ModelFileError, match=f"its {INDEX} is damaged"):
        Checkpoint.open(folder)


def test_a_folder_without_weights(tmp_path):
    with pytest.raises(ModelFileError, match="must hold .safetensors files; it holds none"):
        Checkpoint.open(tmp_path)


MEASURE = """
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8192, 8192, bias=False) for _ in range(9))

build(lambda: nn.Linear(1, 1, bias=False), table, Checkpoint.open(sys.argv[3]))  # whatever the first use imports
before = anonymous()
network = build(Network, table, Checkpoint.open(sys.argv[2]))
total = sum(float(layer.weight[::64].sum()) for layer in network.layers)  # every page group is touched
print(anonymous() - before, total)
"""


def test_a_network_holds_no_second_copy_of_its_file(tmp_path, measured):
    file, small = tmp_path / "large.safetensors", tmp_path / "small.safetensors"
    num_bytes = write_sparse(file, {f"layers.{n}.weight": (8192, 8192) for n in range(9)})
    assert num_bytes > 1.2e9
    save_file({"weight": torch.ones(1, 1)}, small)
    growth, total = measured(MEASURE, file, small)
    assert float(total) == 0
    assert int(growth) <= 0.05 * num_bytes


def write_sparse(file: Path, shapes: dict[str, tuple[int, int]]) -> int:
    """A bf16 file whose zeros take no room on the disk; returns its size."""
    header, end = {}, 0
    for key, (rows, columns) in shapes.items():
        start, end = end, end + 2 * rows * columns
        header[key] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [start, end]}
    start = with_header(header)
    with file.open("wb") as stream:
        stream.write(start)
        stream.truncate(len(start) + end)
    return len(start) + end


def test_an_index_that_names_no_files(folder):
    write_index(folder, {"one": 1})
    with pytest.raises(ModelFileError, match="its model.safetensors.index.json is damaged .*must name files"):
        Checkpoint.open(folder)
