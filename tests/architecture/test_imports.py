"""Imports point down: the table of who may import whom, and who may know of a host."""

from __future__ import annotations

import sys

# Each part of the library may import itself, ltx2/errors.py, ltx2/packages.py (packages that may be missing), and the
# parts beside its name; only parts above it in the table can stand there, so there are no cycles.
LIBRARY = {
    "errors": "",
    "packages": "",
    "geometry": "",
    "config": "",
    "placement": "",
    "tokens": "geometry",
    "layers": "",
    "media": "geometry",
    "networks": "config geometry tokens layers media",
    "precision": "",
    "checkpoint": "config networks precision",
    "compilation": "placement networks precision",
    "recording": "placement layers networks",
    "recipe": "compilation recording config layers placement networks precision checkpoint",
    "kept": "media",
    "prompting": "config networks checkpoint recipe media kept",
    "runtime": "geometry config layers placement networks precision checkpoint recipe",
    "preview": "media networks recipe kept",
    "conditioning": "geometry config tokens media networks runtime",
    "guidance": "config tokens networks conditioning",
    "sampling": "geometry config tokens layers networks precision conditioning guidance runtime recipe recording",
    "latents": "geometry tokens conditioning sampling",
    "decoding": "media networks runtime",
    "encoding": "geometry media networks runtime latents",
    "editing": "geometry tokens conditioning latents",
    "storage": "geometry media conditioning sampling latents",
    "interop": "geometry config tokens networks sampling latents",
    "tiny": "config networks checkpoint recipe",
}
DEPENDENCIES = {"torch", "safetensors", "transformers", "tokenizers", "einops", "av", "numpy", "PIL"}
# ComfyUI depends on the first, the client's progress on the second; what misses one says what to do.
OPTIONAL = {"gguf", "sentencepiece", "triton", "websockets"}
COMFYUI = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "execution",
    "folder_paths",
    "server",
    "latent_preview",
}


def part(path) -> str:
    return path.parts[1].removesuffix(".py")


def test_parts_of_the_library_import_only_what_the_table_allows(sources):
    wrong = []
    for source in sources:
        if source.path.parts[0] != "ltx2" or len(source.path.parts) < 2:
            continue
        own = part(source.path)
        assert own == "__init__" or own in LIBRARY, f"{source.path} is missing in the import table"
        allowed = {own, "errors", "packages", *LIBRARY.get(own, "").split()}
        for target in source.targets():
            top, _, rest = target.partition(".")
            if top != "ltx2" or rest.split(".")[0] not in allowed:
                wrong.append(f"{source.path} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_the_table_has_no_cycle():
    above = set()
    for name, allowed in LIBRARY.items():
        assert set(allowed.split()) <= above, f"{name} may import what comes after it"
        above.add(name)


def test_nodes_and_hosts_are_imported_by_the_edge_only(sources):
    wrong = [
        f"{source.path} imports {target}"
        for source in sources
        for target in source.targets()
        if source.path.parts[0] == "nodes"
        if target.split(".")[0] not in {"nodes", "ltx2"}
    ]
    assert not wrong, "\n".join(wrong)


def test_only_the_comfyui_host_imports_comfyui(sources):
    wrong = [
        f"{source.path} imports {name}"
        for source in sources
        for level, name in source.imports()
        if level == 0 and name.split(".")[0] in COMFYUI
        if not source.path.as_posix().startswith("nodes/host/comfyui")
    ]
    assert not wrong, "\n".join(wrong)


def test_inside_the_pack_imports_are_relative_or_of_a_dependency(sources):
    known = sys.stdlib_module_names | DEPENDENCIES | OPTIONAL | COMFYUI
    wrong = [
        f"{source.path} imports {name}"
        for source in sources
        for level, name in source.imports()
        if level == 0 and name.split(".")[0] not in known
    ]
    assert not wrong, "\n".join(wrong)
