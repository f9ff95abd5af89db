"""Gemma 3 from a Hugging Face folder or a single file: which model it is, whether it fits, weights and tokenizer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config.text import ConnectorsConfig, GemmaConfig
from ..config.vision import VisionConfig
from ..errors import ModelFileError
from ..networks.text.gemma import Gemma3
from ..networks.text.tokenizer import PromptTokenizer
from ..networks.text.vision import GemmaVision, Projector, VisionTower
from .gguf import gemma_config
from .keys import GEMMA, NameTable
from .load import Check, audit, build, no_check, on_meta
from .reader import Checkpoint, json_object
from .release import contents
from .weights import Shapes, TensorSource

CURE = "choose Gemma 3 12B: the folder google/gemma-3-12b-it-qat-q4_0-unquantized, or gemma_3_12B_it.safetensors"
_SIZES = {1152: "1B", 2560: "4B", 3840: "12B", 5376: "27B"}
_LAYER = re.compile(r"^layers\.(\d+)\.")
_TOKENIZER_JSON = "tokenizer.json"
# Byte tensors of single files.
_EMBEDDED_JSON, _EMBEDDED_SENTENCEPIECE = "tokenizer_json", "spiece_model"
# Gemma's eye, in the released folder, in folders of the newer transformers and in ComfyUI's single file.
_VISION_TOWER = NameTable(
    component="Gemma 3 vision tower",
    section="",
    prefixes=(
        "vision_tower.vision_model.",
        "model.vision_tower.vision_model.",
        "model.vision_tower.",
        "vision_tower.",
        "vision_model.",
    ),
    keeps_other_names=True,
    ignored=("head.*",),
)
_PROJECTOR = NameTable(
    component="Gemma 3 projector of pictures",
    section="",
    prefixes=("multi_modal_projector.", "model.multi_modal_projector."),
    keeps_other_names=True,
)


def read_config(checkpoint: Checkpoint) -> GemmaConfig:
    """The config of the language model in `checkpoint`.

    It is read from the folder's config.json, or from a single file's metadata (`gemma_config`). A single file without
    one is taken for the released 12B.

    Raises:
        ModelFileError: there is no Gemma 3 in it.
    """
    return recognise(checkpoint.shapes(), _raw_config(checkpoint), checkpoint.name)


def read_vision_config(checkpoint: Checkpoint) -> VisionConfig:
    """The config of the vision tower in `checkpoint`, found as that of the language model is.

    Raises:
        ModelFileError: there is no vision tower in it, or one whose names or shapes are not as its config says.
    """
    keys = checkpoint.entries
    lacking = [table.component for table in (_VISION_TOWER, _PROJECTOR) if table.prefix_in(keys) is None]
    if lacking:
        raise ModelFileError(
            f"an image can be read only with Gemma's eye; {checkpoint.name} has no {' and no '.join(lacking)} (tensors "
            "vision_tower.* and multi_modal_projector.*): choose the folder google/gemma-3-12b-it-qat-q4_0-unquantized "
            "in the loader, or leave the image out"
        )
    text, raw = read_config(checkpoint), _raw_config(checkpoint)
    config = VisionConfig() if raw is None else VisionConfig.from_huggingface(raw, text.hidden_size, checkpoint.name)
    audit(on_meta(lambda: VisionTower(config)), _VISION_TOWER, checkpoint)
    audit(on_meta(lambda: Projector(config)), _PROJECTOR, checkpoint)
    return config


def recognise(shapes: Shapes, raw: Mapping[str, Any] | None, name: str) -> GemmaConfig:
    """The config of the language model whose tensors have these `shapes` (by file key); `raw` is its config.json.

    Raises:
        ModelFileError: it is something else; the message says what, and names `name`.
    """
    prefix = GEMMA.prefix_in(shapes)
    ours = {key[len(prefix) :]: shape for key, shape in shapes.items() if prefix and key.startswith(prefix)}
    table = ours.get("embed_tokens.weight")
    if table is None:
        raise ModelFileError(f"{name} must hold the Gemma 3 language model; it holds {contents(shapes)}: {CURE}")
    if any(key.endswith(".layer_scalar") for key in ours) or _lacks_value_projections(ours):
        raise ModelFileError(
            f"{name} is Gemma 4, which belongs to LTX-2.5 (some of its layers have no v_proj); LTX-2 and 2.3 need "
            f"Gemma 3: {CURE}"
        )
    if len(table) != 2:
        raise ModelFileError(f"{name} is damaged: embed_tokens.weight must be a matrix; its shape is {table}: {CURE}")
    if raw is not None:
        return GemmaConfig.from_huggingface(raw, name)
    config = GemmaConfig(vocab_size=table[0])
    num_layers = 1 + max((int(match[1]) for key in ours if (match := _LAYER.match(key))), default=-1)
    if (table[1], num_layers) != (config.hidden_size, config.num_layers):
        raise ModelFileError(
            f"{name} holds no config, so it must be Gemma 3 12B (hidden size {config.hidden_size}, {config.num_layers} "
            f"layers); it is {_describe(table[1], num_layers)}: {CURE}"
        )
    return config


def check_fits(gemma: GemmaConfig, connectors: ConnectorsConfig, name: str) -> None:
    """Raise ModelFileError where the projection of the LTX-2 checkpoint was made for another text model than `name`."""
    if (gemma.hidden_size, gemma.num_states) != (connectors.hidden_size, connectors.num_text_states):
        needed = _describe(connectors.hidden_size, connectors.num_text_states - 1)
        raise ModelFileError(
            f"the checkpoint's text projection needs {needed}; {name} is "
            f"{_describe(gemma.hidden_size, gemma.num_layers)}: {CURE}"
        )


def load_gemma(source: TensorSource, config: GemmaConfig, check: Check = no_check) -> Gemma3:
    """The language model with its weights memory-mapped. Raises ModelFileError where names or shapes differ."""
    return build(lambda: Gemma3(config), GEMMA, source, check=check)


def load_vision(source: TensorSource, config: VisionConfig, check: Check = no_check) -> GemmaVision:
    """The vision tower and the projector, memory-mapped. Raises ModelFileError where names or shapes differ."""
    tower = build(lambda: VisionTower(config), _VISION_TOWER, source, check=check)
    return GemmaVision(tower, build(lambda: Projector(config), _PROJECTOR, source, check=check))


def load_tokenizer(checkpoint: Checkpoint) -> PromptTokenizer:
    """The tokenizer in the folder, inside the single file, or in a tokenizer.json beside that.

    Raises:
        ModelFileError: there is none that can be read; says where it was looked for.
    """
    shapes = checkpoint.shapes()
    if _EMBEDDED_JSON in shapes:
        return PromptTokenizer.from_json(
            _utf8(_bytes(checkpoint, _EMBEDDED_JSON), f"{_EMBEDDED_JSON} in {checkpoint.name}")
        )
    folder = checkpoint.path if checkpoint.path.is_dir() else checkpoint.path.parent
    beside = folder / _TOKENIZER_JSON
    if _EMBEDDED_SENTENCEPIECE in shapes and (PromptTokenizer.reads_sentencepiece() or not beside.is_file()):
        return PromptTokenizer.from_sentencepiece(_bytes(checkpoint, _EMBEDDED_SENTENCEPIECE))
    if not beside.is_file():
        inside = "" if checkpoint.path.is_dir() else f" ({_EMBEDDED_JSON} or {_EMBEDDED_SENTENCEPIECE} inside it)"
        raise ModelFileError(
            f"{checkpoint.name} needs its tokenizer{inside}; there is none, nor a {beside}: put the {_TOKENIZER_JSON} "
            "of google/gemma-3-12b-it-qat-q4_0-unquantized there"
        )
    return PromptTokenizer.from_json(_utf8(beside.read_bytes(), str(beside)))


def _raw_config(checkpoint: Checkpoint) -> Mapping[str, Any] | None:
    """The folder's config.json, or what a single file's metadata say in its place."""
    if checkpoint.path.is_dir():
        return _read_json(checkpoint.path / "config.json")
    if (config := gemma_config(checkpoint.metadata)) is not None:
        table = checkpoint.shapes().get("model.embed_tokens.weight", ())
        return {**config, "vocab_size": table[0]} if table else config
    text = checkpoint.metadata.get("gemma_config")
    return None if text is None else _json(text, checkpoint.name, "gemma_config")


def _bytes(checkpoint: Checkpoint, key: str) -> bytes:
    return checkpoint.read(key).numpy().tobytes()


def _read_json(file: Path) -> Mapping[str, Any]:
    try:
        text = file.read_bytes()
    except FileNotFoundError as error:
        raise ModelFileError(
            f"{file.parent.name} must be a whole Hugging Face folder; it has no {file.name}: download all its files"
        ) from error
    return _json(text, file.parent.name, file.name)


def _json(text: str | bytes, name: str, part: str) -> Mapping[str, Any]:
    try:
        return json_object(text)
    except ValueError as error:
        raise ModelFileError(f"{name}: its {part} must be a JSON object ({error}); download it again") from error


def _utf8(text: bytes, where: str) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{where} must be a text in UTF-8; it is not ({error}); download it again") from error


def _lacks_value_projections(shapes: Shapes) -> bool:
    attention = [key for key in shapes if key.endswith(".self_attn.k_proj.weight")]
    return any(key.replace(".k_proj.", ".v_proj.") not in shapes for key in attention)


def _describe(hidden_size: int, num_layers: int) -> str:
    size = _SIZES.get(hidden_size)
    return f"{f'Gemma 3 {size}' if size else 'another model'} (hidden size {hidden_size}, {num_layers} layers)"
