"""Describes the machine and the versions that produced a figure."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path

from benchmarks import workers

# Widest first.
_INSTRUCTION_SETS = ("avx512f", "avx2", "avx", "sse4_2")
_PACKAGES = (
    "tensorflow",
    "tensorflow-cpu",
    "jax",
    "keras",
    "numpy",
    "opencv-python-headless",
)


def describe() -> dict[str, str]:
    """Returns the names and values needed to compare figures between machines."""
    cpu = _cpu_info()
    flags = cpu.get("flags", "").split()
    simd = next((name for name in _INSTRUCTION_SETS if name in flags), "unknown")
    forced = os.environ.get("TF_BOXCONV_ISA")
    return {
        "processor": cpu.get("model name", platform.processor() or platform.machine()),
        "cores": str(workers.default_threads()),
        "instruction set": simd + (f", TF_BOXCONV_ISA={forced}" if forced else ""),
        "system": f"{platform.system()} {platform.machine()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        **{name: version for name in _PACKAGES if (version := _version(name))},
    }


def summary(description: dict[str, str]) -> str:
    """Returns the description as one line."""
    return ", ".join(f"{name} {value}" for name, value in description.items())


def write_report(path: Path, description: dict[str, str], content: dict[str, object]) -> None:
    """Writes the results and the machine as JSON; creates the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": description, **content}, indent=1) + "\n")


def _cpu_info() -> dict[str, str]:
    """Returns the first entry of /proc/cpuinfo, or an empty dict if there is no such file."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
