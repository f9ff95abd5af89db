"""Schema, ComfyNode and NodeOutput of the stand-in for `comfy_api.latest.io`, and what /object_info says of a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any, ClassVar

from .inputs import Input, Output


class Hidden(str, Enum):
    """What a node may ask the host for besides its inputs; read as `cls.hidden.prompt` and so on."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


@dataclass
class Schema:
    """How a node appears. Field names are ComfyUI's; those that it added over time are in the same order."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_dev_only: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False
    essentials_category: str | None = None
    has_intermediate_output: bool = False

    def finalize(self) -> None:
        """Add what ComfyUI adds: the prompt and the workflow for output nodes, ids for outputs that have none."""
        if self.is_output_node:
            self.hidden = [*self.hidden, *(h for h in (Hidden.prompt, Hidden.extra_pnginfo) if h not in self.hidden)]
        for index, output in enumerate(self.outputs):
            output.id = output.id or f"_{index}_{output.io_type}_"

    def validate(self) -> None:
        """Refuse ids that occur twice, and what the headless executor cannot run."""
        for kind, ids in (("input", [i.id for i in self.inputs]), ("output", [o.id for o in self.outputs])):
            twice = sorted({id for id in ids if ids.count(id) > 1})
            if twice:
                raise ValueError(f"{self.node_id}: {kind} ids must be unique, but {twice} are not")
        if self.is_input_list or self.enable_expand or any(output.is_output_list for output in self.outputs):
            raise ValueError(f"{self.node_id}: lists and node expansion are not supported by the headless host")

    def get_v1_info(self, cls: type[ComfyNode]) -> dict[str, Any]:
        """The node's entry in /object_info."""
        inputs: dict[str, dict] = {"required": {}}
        for each in self.inputs:
            fields = each.as_dict()
            group = "optional" if fields.pop("optional") else "required"
            inputs.setdefault(group, {})[each.id] = [each.get_io_type(), fields]
        for hidden in self.hidden:
            inputs.setdefault("hidden", {})[hidden.name] = [hidden.value]
        return {
            "input": inputs,
            "input_order": {group: list(entries) for group, entries in inputs.items()},
            "is_input_list": self.is_input_list,
            "output": [output.io_type for output in self.outputs],
            "output_is_list": [output.is_output_list for output in self.outputs],
            "output_name": [output.display_name or output.io_type for output in self.outputs],
            "output_tooltips": [output.tooltip or None for output in self.outputs],
            "output_matchtypes": None,
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": cls.RELATIVE_PYTHON_MODULE,  # set by whoever loads the pack
            "category": self.category,
            "output_node": self.is_output_node,
            "deprecated": self.is_deprecated,
            "experimental": self.is_experimental,
            "dev_only": self.is_dev_only,
            "api_node": self.is_api_node,
            "price_badge": None,
            "search_aliases": self.search_aliases or None,
            "essentials_category": self.essentials_category,
            "has_intermediate_output": self.has_intermediate_output,
        }


class HiddenHolder(SimpleNamespace):
    """The hidden values of one execution; one that was not asked for reads as None."""

    def __getattr__(self, name: str) -> None:
        return None


class ComfyNode:
    """What nodes derive from. Node classes have no instances: `execute` runs on a locked clone of the class."""

    RELATIVE_PYTHON_MODULE: ClassVar[str | None] = None
    hidden: ClassVar[HiddenHolder] = HiddenHolder()

    @classmethod
    def define_schema(cls) -> Schema:
        raise NotImplementedError

    @classmethod
    def execute(cls, **inputs: Any) -> NodeOutput:
        raise NotImplementedError

    @classmethod
    def validate_inputs(cls, **inputs: Any) -> bool | str:
        """True, or what is wrong; inputs that it names are no longer checked against range, step and options."""
        raise NotImplementedError

    @classmethod
    def fingerprint_inputs(cls, **inputs: Any) -> Any:
        """A value that changes when the node must run again although its inputs are the same."""
        raise NotImplementedError

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        schema = cls.define_schema()
        schema.finalize()
        schema.validate()
        return schema

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict]:
        return cls.GET_SCHEMA().get_v1_info(cls)["input"]

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        return cls.GET_SCHEMA().get_v1_info(cls)


def overridden(cls: type[ComfyNode], name: str) -> Any | None:
    """The node's own classmethod `name`, or None where it has none."""
    method = getattr(cls, name)
    return None if method.__func__ is getattr(ComfyNode, name).__func__ else method


class _Locked(type):
    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(f"Cannot modify class attribute '{name}' on locked class '{cls.__name__}'")


def locked_clone(cls: type[ComfyNode], hidden: dict[str, Any]) -> type[ComfyNode]:
    """A fresh subclass of `cls` with these hidden values whose attributes cannot be set: a node keeps no state."""
    return _Locked(cls.__name__, (cls,), {"hidden": HiddenHolder(**hidden), "__module__": cls.__module__})


class NodeOutput:
    """What `execute` returns: the outputs in order and, for the browser, `ui`."""

    def __init__(self, *args: Any, ui: Any = None, expand: dict | None = None, block_execution: str | None = None):
        self.args = args
        self.ui = ui
        self.expand = expand
        self.block_execution = block_execution

    @property
    def result(self) -> tuple | None:
        return self.args or None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]
