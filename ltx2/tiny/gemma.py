"""The tiny Gemma 3 folder: sharded weights with a vision tower, a tokenizer that splits real text, and its configs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..checkpoint.keys import GEMMA as GEMMA_NAMES
from ..checkpoint.load import on_meta
from ..config.text import GemmaConfig
from ..networks.text.gemma import Gemma3
from .archive import save
from .configs import GEMMA
from .values import Shape, value

_SPECIAL = (
    "<pad>",
    "<eos>",
    "<bos>",
    "<unk>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<start_of_image>",
    "<end_of_image>",
    "<image_soft_token>",
)
_SPACE = "\u2581"
_WORDS = (
    "a above across after air and animal ant around at audio autumn back background ball band beach bear beat bell "
    "bird black blow blue boat body book bottle box boy breath bright brown build by calm camera car cat catch city "
    "clean clear close cloud cold color come cook crowd dance dark day deep dog door down dream drive drum dry dust "
    "early earth edge evening eye face fall far fast field film fire fish floor flow flower fly fog forest fox frame "
    "from front game garden girl glass glow gold grass green grey ground group guitar hair hand happy head hear heart "
    "high hill hold home horse hot house ice in inside into is island it jump keep kitchen lake lamp land laugh leaf "
    "left light like line lips listen long look loud low man many market mist moment moon morning mountain move music "
    "near neon night noise of old on one open orange out over paint paper park path people person piano picture play "
    "pour purple quick quiet rain red rise river road rock room rose run sail sand sea shadow shine ship shop shore "
    "sing sit sky sleep slow small smile smoke snow soft song sound speak stand star steam step still stone storm "
    "street summer sun sunset sway swim table talk tall the them thing through time to top toward tower town train "
    "tree turn under up video view voice walk wall warm watch water wave white wide wild wind window winter with wolf "
    "woman wood word yellow young"
).split()


def write_gemma(folder: Path, seed: str) -> list[Path]:
    """Write the folder; returns its files."""
    vocabulary, merges = _vocabulary()
    shapes = {**_language_shapes(len(vocabulary)), **_vision_shapes()}
    config = {
        **GEMMA,
        "text_config": {**GEMMA["text_config"], "vocab_size": len(vocabulary)},
        "vision_config": {**GEMMA["vision_config"], "vision_use_head": False},
        "image_token_index": _SPECIAL.index("<image_soft_token>"),
        "boi_token_index": _SPECIAL.index("<start_of_image>"),
        "eoi_token_index": _SPECIAL.index("<end_of_image>"),
        "eos_token_id": [_SPECIAL.index("<eos>"), _SPECIAL.index("<end_of_turn>")],
        "torch_dtype": "bfloat16",
    }
    texts = {
        "config.json": config,
        "tokenizer.json": _tokenizer(vocabulary, merges),
        "tokenizer_config.json": _tokenizer_config(),
        "preprocessor_config.json": _PREPROCESSOR,
    }
    files = _write_shards(folder, shapes, seed)
    for name, content in texts.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    return [*files, *(folder / name for name in texts)]


def _write_shards(folder: Path, shapes: dict[str, Shape], seed: str) -> list[Path]:
    keys = sorted(shapes)
    shards = {"model-00001-of-00002.safetensors": keys[::2], "model-00002-of-00002.safetensors": keys[1::2]}
    total = 0
    for name, part in shards.items():
        tensors = {key: value(key, shapes[key], seed) for key in part}
        total += sum(tensor.nbytes for tensor in tensors.values())
        save(folder / name, tensors, {"format": "pt"})
    weight_map = {key: name for name, part in shards.items() for key in part}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    file = folder / "model.safetensors.index.json"
    file.write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    return [*(folder / name for name in shards), file]


def _language_shapes(vocabulary_size: int) -> dict[str, Shape]:
    config = GemmaConfig.from_huggingface({**GEMMA["text_config"], "vocab_size": vocabulary_size})
    state = on_meta(lambda: Gemma3(config)).state_dict()
    return {GEMMA_NAMES.to_theirs(name): tuple(tensor.shape) for name, tensor in state.items()}


def _vision_shapes() -> dict[str, Shape]:
    """The vision tower and the projector behind it, which are in every released folder."""
    config = GEMMA["vision_config"]
    dim, wide, patch = config["hidden_size"], config["intermediate_size"], config["patch_size"]
    patches = (config["image_size"] // patch) ** 2
    tower = "vision_tower.vision_model."
    shapes: dict[str, Shape] = {
        f"{tower}embeddings.patch_embedding.weight": (dim, 3, patch, patch),
        f"{tower}embeddings.patch_embedding.bias": (dim,),
        f"{tower}embeddings.position_embedding.weight": (patches, dim),
        f"{tower}post_layernorm.weight": (dim,),
        f"{tower}post_layernorm.bias": (dim,),
        "multi_modal_projector.mm_input_projection_weight": (dim, GEMMA["text_config"]["hidden_size"]),
        "multi_modal_projector.mm_soft_emb_norm.weight": (dim,),
    }
    linears = {f"self_attn.{name}_proj": (dim, dim) for name in ("q", "k", "v", "out")}
    linears |= {"mlp.fc1": (wide, dim), "mlp.fc2": (dim, wide)}
    for layer in range(config["num_hidden_layers"]):
        block = f"{tower}encoder.layers.{layer}."
        shapes |= {f"{block}layer_norm{n}.{leaf}": (dim,) for n in (1, 2) for leaf in ("weight", "bias")}
        shapes |= {f"{block}{name}.weight": shape for name, shape in linears.items()}
        shapes |= {f"{block}{name}.bias": shape[:1] for name, shape in linears.items()}
    return shapes


def _vocabulary() -> tuple[list[str], list[list[str]]]:
    """Tokens in the order of their ids, and the merges that grow words letter by letter.

    Special tokens stand first, in Gemma's order; then one token per byte, for whatever the letters do not cover.
    """
    tokens: dict[str, None] = dict.fromkeys(_SPECIAL)
    tokens |= {f"<0x{byte:02X}>": None for byte in range(256)}
    tokens |= {chr(code): None for code in range(33, 127)} | {_SPACE: None}
    merges: dict[tuple[str, str], None] = {}
    for word in _WORDS:
        whole = _SPACE + word
        for end in range(1, len(whole)):
            merges[whole[:end], whole[end]] = None
            tokens[whole[: end + 1]] = None
    return list(tokens), [list(pair) for pair in merges]


def _tokenizer(vocabulary: list[str], merges: list[list[str]]) -> dict[str, Any]:
    """A tokenizer.json of the same make as Gemma's: byte-pair encoding with byte fallback, spaces as a character."""
    special = [
        {"id": id, "content": token, "single_word": False, "lstrip": False, "rstrip": False}
        | {"normalized": False, "special": True}
        for id, token in enumerate(_SPECIAL)
    ]
    bos = {"SpecialToken": {"id": "<bos>", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"String": " "},
            "behavior": "MergedWithPrevious",
            "invert": False,
        },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, bos, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<bos>": {"id": "<bos>", "ids": [_SPECIAL.index("<bos>")], "tokens": ["<bos>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: id for id, token in enumerate(vocabulary)},
            "merges": merges,
        },
    }


def _tokenizer_config() -> dict[str, Any]:
    return {
        "tokenizer_class": "GemmaTokenizer",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "padding_side": "left",
        "model_max_length": 1_000_000_000_000_000_019_884_624_838_656,
    }


_PREPROCESSOR = {
    "image_processor_type": "Gemma3ImageProcessor",
    "processor_class": "Gemma3Processor",
    "do_resize": True,
    "size": {"height": GEMMA["vision_config"]["image_size"], "width": GEMMA["vision_config"]["image_size"]},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "image_seq_length": GEMMA["mm_tokens_per_image"],
}
