"""Runs a demo that is set up and holds it to what was promised: `demo.py FOLDER RELEASE` fails above a limit."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 60
BYTES = 4 * 10**9
KIB = 1024  # Linux gives ru_maxrss in KiB


def main(folder: str, release: str) -> None:
    start = time.perf_counter()
    command = [Path(sys.executable).with_name("ltx2"), "demo", folder, "--release", release]
    # A demo that hangs must fail too.
    subprocess.run(command, check=True, timeout=5 * SECONDS)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIB
    print(f"demo {release}: {seconds:.1f} s of {SECONDS}, {peak / 1e9:.2f} GB of {BYTES / 1e9:.0f} GB at its peak")
    assert seconds <= SECONDS, f"a demo within {SECONDS} s, got {seconds:.1f}"
    assert peak <= BYTES, f"a demo within {BYTES / 1e9:.0f} GB, got {peak / 1e9:.2f}"


if __name__ == "__main__":
    main(*sys.argv[1:])
