"""The tiny transformer of a golden case, for modules that have a `case`."""

from __future__ import annotations

import pytest

from ltx2.checkpoint.keys import TRANSFORMER
from ltx2.checkpoint.load import InMemory, build
from ltx2.config.section import parse
from ltx2.config.transformer import TransformerConfig
from ltx2.networks.transformer.model import Transformer


@pytest.fixture(scope="module")
def network(case):
    config = parse(TransformerConfig, case.config["transformer"], "transformer")
    return build(lambda: Transformer(config), TRANSFORMER, InMemory(case.weights))
