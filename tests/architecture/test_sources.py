"""Limits on the pack's sources: sizes, encoding, what must not run at a user's, what ComfyUI's tools scan for."""

from __future__ import annotations

import ast

import pytest

LINES_OF_A_FILE = 400
LINES_OF_A_FUNCTION = 60
CALLS_THAT_RUN_STRINGS = {"eval", "exec", "compile", "__import__"}
MODULES_THAT_RUN_OR_UNPICKLE = {"pickle", "dill", "marshal", "shelve", "subprocess", "multiprocessing", "pip", "ctypes"}
CALLS_ON_TORCH = {"load", "save"}


def walk(sources, *kinds):
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, kinds):
                yield source, node


def test_files_are_short(all_sources):
    long = [f"{s.path}: {s.text.count(chr(10))}" for s in all_sources if s.text.count("\n") > LINES_OF_A_FILE]
    assert not long, "\n".join(long)


def test_functions_fit_a_screen(all_sources):
    long = [
        f"{source.path}:{node.lineno} {node.name}"
        for source, node in walk(all_sources, ast.FunctionDef, ast.AsyncFunctionDef)
        if node.end_lineno - node.lineno >= LINES_OF_A_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_modules_say_what_they_are_for(sources):
    silent = [str(s.path) for s in sources if s.text.strip() and not ast.get_docstring(s.tree)]
    assert not silent, "\n".join(silent)


def test_sources_can_be_read_as_cp1252(all_sources):
    """Windows reads text in its own code page, and some of ComfyUI's tools do so with packs."""
    for source in all_sources:
        try:
            source.text.encode("cp1252")
        except UnicodeEncodeError as error:
            pytest.fail(f"{source.path}: {error}")


def test_only_nodes_declare_nodes(all_sources):
    """The Manager scans every file of the repository for nodes, tests included."""
    wrong = [
        f"{source.path}: {node.name}"
        for source, node in walk(all_sources, ast.ClassDef)
        if source.path.parts[0] != "nodes"
        if any(ast.unparse(base).split(".")[-1] == "ComfyNode" for base in node.bases)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_entry_point_is_the_only_registration(sources):
    """ComfyUI ignores `comfy_entrypoint` where a mapping of classes exists."""
    wrong = [
        str(source.path)
        for source, node in walk(sources, ast.Name)
        if node.id in {"NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"}
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_runs_strings_programs_or_pickles(sources):
    wrong = [
        f"{source.path} imports {name}"
        for source in sources
        for level, name in source.imports()
        if level == 0 and name.split(".")[0] in MODULES_THAT_RUN_OR_UNPICKLE
    ]
    for source, node in walk(sources, ast.Call):
        function = node.func
        if isinstance(function, ast.Name) and function.id in CALLS_THAT_RUN_STRINGS:
            wrong.append(f"{source.path}:{node.lineno} {function.id}")
        if isinstance(function, ast.Attribute) and ast.unparse(function.value) == "torch":
            wrong += [f"{source.path}:{node.lineno} torch.{function.attr}"] * (function.attr in CALLS_ON_TORCH)
    assert not wrong, "\n".join(wrong)


def test_no_shipped_code_knows_of_tests(sources):
    wrong = [str(s.path) for s in sources if "PYTEST_CURRENT_TEST" in s.text or '"pytest"' in s.text]
    assert not wrong, "\n".join(wrong)
