"""The machine and the versions behind a figure."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path

from benchmarks import workers

# The widest first.
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
    """What a reader needs to know to compare figures, as names and values."""
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
    """One line for the head of a report."""
    return ", ".join(f"{name} {value}" for name, value in description.items())


def write_report(path: Path, description: dict[str, str], content: dict[str, object]) -> None:
    """Writes what was measured, and on what machine, as JSON; makes the folder if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": description, **content}, indent=1) + "\n")


def _cpu_info() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; empty where there is no such file."""
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
