"""`make gpu-check`: correctness, compute-sanitizer and bandwidths on a CUDA machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

from benchmarks.gpu import bandwidth
from benchmarks.gpu.device import find_device
from benchmarks.gpu.library import GpuError, Library, build, find_nvcc


def sanitize() -> bool:
    """Runs a few small problems under each of compute-sanitizer's tools that matter here."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        print("compute-sanitizer is not installed: NOT run")
        return True
    clean = True
    for tool in ("memcheck", "racecheck", "initcheck"):
        command = [sanitizer, "--tool", tool, "--error-exitcode", "9", "--kernel-regex"]
        command += ["kns=boxconv", sys.executable, "-m", "tests.gpu.kernels"]
        command += ["--small", "--problems", "4"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=100)
        except subprocess.TimeoutExpired:
            print(f"compute-sanitizer {tool}: NOT finished in 100 s")
            continue
        print(f"compute-sanitizer {tool}: {'clean' if done.returncode == 0 else 'ERRORS'}")
        if done.returncode != 0:
            print((done.stdout + done.stderr)[-3000:])
            clean = False
    return clean


def main() -> int:
    """Runs all of it; returns 0 if results are right and all budgets are kept."""
    start = time.time()
    try:
        device = find_device()
        print(f"GPU: {device.name}\nnvcc: {find_nvcc()}", flush=True)
        library = Library(build(), device)
    except GpuError as error:
        print(f"gpu-check: {error}; nothing was checked", file=sys.stderr)
        return 2
    tests = [sys.executable, "-m", "tests.gpu.kernels", "--problems", "60"]
    right = subprocess.run(tests).returncode == 0
    right &= sanitize()
    kept = bandwidth.report(device, library)
    bandwidth.rivals(device, library)
    print(
        f"\nresults {'right' if right else 'WRONG'}, budgets {'kept' if kept else 'MISSED'}, ",
        end="",
    )
    print(f"{time.time() - start:.0f} s")
    return 0 if right and kept else 1


if __name__ == "__main__":
    sys.exit(main())
