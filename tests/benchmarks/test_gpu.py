"""The benchmarks for GPUs, all of them at tiny size on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu.py"
IDS = {f"H{number}" for number in (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13)}


def records_of(folder, *arguments):
    """What the script writes into `folder`, and what it prints."""
    command = [sys.executable, SCRIPT, "--tiny", "--output", folder, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    name = "gpu-diffusers.jsonl" if "--peer" in arguments else "gpu.jsonl"
    return [json.loads(line) for line in (folder / name).read_text().splitlines()], done.stdout


def test_everything_runs_beside_a_peer(tmp_path):
    theirs, _ = records_of(tmp_path, "--peer", "diffusers")
    ours, table = records_of(tmp_path)
    assert {each["id"] for each in ours if "id" in each} == IDS
    left_out = " ".join(each["skipped"] for each in ours if "skipped" in each)
    reasons = ("operations cannot be fused", "CUDA graphs must have", "compiling takes longer")
    assert [left_out.count(reason) for reason in reasons] == [1, 1, 1]
    assert sum("skipped" in each for each in ours) == 3
    rows = [each for each in ours if "ours" in each]
    assert all(each["ours"] > 0 and each["scale"] == "tiny" and each["commit"] for each in rows)
    compared = {(each["id"], each["what"]): each["peer"] for each in rows if each["peer"]}
    assert {(each["id"], each["what"]): each["ours"] for each in theirs}.items() <= compared.items()
    assert {each["id"] for each in rows if each["of"] == "ratio" and each["goal"]} >= {"H2", "H5"}
    (profile,) = (each for each in ours if "profile" in each)
    assert profile["kernels"] > 100
    assert profile["busy_ms"] == pytest.approx(sum(profile["kinds_ms"].values()), abs=0.01)
    assert "kernels, busy" in table


def test_what_the_time_does_not_suffice_for_says_so(tmp_path):
    records, printed = records_of(tmp_path, "--seconds", "0")
    assert {each["id"] for each in records} == IDS
    assert all("0 s are left" in each["skipped"] for each in records)
    assert printed.count("skipped") == len(records)


def test_some_can_be_asked_for(tmp_path):
    records, _ = records_of(tmp_path, "--only", "H0", "H12")
    assert {each["id"] for each in records} == {"H0", "H12"}
    (left_out,) = (each for each in records if "skipped" in each)
    assert left_out["skipped"] == "it needs H2, which has not been measured"


def test_some_goals_do_not_take_the_place_of_a_whole_run(benchmark_module, tmp_path):
    gpu = benchmark_module("gpu")
    assert gpu.folder_of(None, is_whole=True) == gpu.RESULTS
    assert gpu.folder_of(None, is_whole=False) is None
    assert gpu.folder_of(tmp_path, is_whole=False) == tmp_path


@pytest.fixture(scope="module")
def bench(benchmark_module):
    """The smallest bench there is."""
    module = benchmark_module("gpu_bench")
    return module.Bench(torch.device("cpu"), module.Scale(is_tiny=True))


def test_random_networks_keep_states_at_their_size(benchmark_module, bench):
    module = benchmark_module("gpu_bench")
    linear = module.random_network(lambda width: torch.nn.Linear(width, width), 256, bench.device)
    assert (linear.weight.dtype, linear.weight.device.type) == (torch.bfloat16, "cpu")
    assert float(linear.weight.float().std()) == pytest.approx(256**-0.5, rel=0.02)
    assert not linear.bias.any()
    assert not any(parameter.requires_grad for parameter in linear.parameters())


def test_peaks_are_beside_what_is_held(bench):
    held = torch.zeros(1000)
    assert bench.peak_gb(lambda: held + 1) == 4000 / 1e9


def test_a_median_of_calls(bench):
    calls = []
    assert bench.milliseconds(lambda: calls.append(1), rounds=3, warmups=2) < 1e3
    assert len(calls) == 5


def test_out_of_memory_is_told_and_the_rest_goes_on(benchmark_module, capsys):
    report = benchmark_module("report")

    def too_large():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        yield

    def fine():
        yield report.Row("H2", "fine", "ms", 1.0, None, 2.0, "ours")

    records = list(benchmark_module("gpu").measured([("H1", 0, too_large), ("H2", 0, fine)], 10, {"scale": "tiny"}))
    assert [each.get("skipped") for each in records] == ["out of memory: CUDA out of memory", None]
    assert records[1]["pass"]
    assert "H1     skipped: out of memory" in capsys.readouterr().out


def test_numbers_of_another_device_or_size_are_no_peers(benchmark_module, tmp_path):
    row = {"id": "H1", "what": "one", "ours": 2.0, "device": "H200", "scale": "full"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "id": "H2", "scale": "tiny"}) + "\n")
    peers_of = benchmark_module("gpu").peers_of
    assert peers_of(tmp_path / "a.jsonl", "H200", "full") == {("H1", "one"): 2.0}
    assert peers_of(tmp_path / "a.jsonl", "H100", "full") == {}
    assert peers_of(tmp_path / "none.jsonl", "H200", "full") == {}
