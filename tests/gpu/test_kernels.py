"""The CUDA kernels on a GPU (if there is one) and emulated, and `make gpu-check` without a GPU."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gpu.device import Gpu
from benchmarks.gpu.library import DTYPES, GpuError, Library, Problem
from tests.gpu import emulated_library, kernels

ROOT = Path(__file__).resolve().parents[2]


def gpu_is_missing() -> str:
    try:
        Gpu()
    except GpuError as error:
        return str(error)
    return "" if shutil.which("nvcc") else "no nvcc"


@pytest.mark.skipif(bool(gpu_is_missing()), reason=gpu_is_missing())
@pytest.mark.timeout(600)
def test_kernels_on_the_gpu():
    done = subprocess.run([sys.executable, "-m", "tests.gpu.kernels", "--problems", "20"], cwd=ROOT)
    assert done.returncode == 0


@pytest.mark.long
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.timeout(600)
def test_kernels_emulated(tmp_path):
    """Runs the checks for GPUs on the CPU, through the C interface."""
    device = emulated_library.NumpyDevice()
    emulated = kernels.Kernels(device, Library(emulated_library.build(tmp_path), device))
    checks = kernels.random_checks(emulated, problems=6, brief=True)
    checks += kernels.problem_checks(emulated, kernels.large_problems("bfloat16"))
    assert kernels.run(checks) == 0
    kernels.check_offsets(emulated)
    kernels.check_many_tables(emulated, images=20)
    kernels.check_extremes(emulated, images=50)
    kernels.check_wide_rows(emulated, width=15000)
    kernels.check_huge_plane(emulated, side=200)
    with pytest.raises(GpuError, match="strides must be positive"):
        emulated.library.workspace("forward", Problem(1, 2, 3, 4, strides=(0, 1)))


@pytest.mark.skipif(not gpu_is_missing(), reason="there is a GPU")
def test_gpu_check_says_what_is_missing():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode != 0
    assert "nothing was checked" in done.stderr


def test_failures_are_counted_and_do_not_stop_the_rest(capsys):
    def fails():
        raise GpuError("an illegal memory access was encountered")

    def lacks_memory():
        raise kernels.NotRun("2 GiB are needed")

    ran = []
    checks = [("first", fails), ("second", lacks_memory), ("third", lambda: ran.append(3))]
    assert kernels.run(checks) == 1
    assert ran == [3]
    printed = capsys.readouterr().out
    assert "FAILED: first: GpuError: an illegal memory access" in printed
    assert "NOT run: second: 2 GiB" in printed
    assert "3 of 3 checks, 1 failed" in printed


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_survive_storage(dtype):
    values = np.float64([[0.5, -2.0], [1024.0, 0.0]])
    stored = kernels.encode(values, dtype).reshape(-1).view(np.uint8)
    np.testing.assert_array_equal(kernels.decode(stored, values.shape, dtype), values)


def test_shapes_of_a_problem():
    problem = Problem(2, 5, 7, 3, boxes_per_channel=4, strides=(2, 3))
    assert problem.output_shape == (2, 3, 3, 12)
    assert (problem.as_c().layout, problem.as_c().normalization, problem.as_c().dtype) == (0, 1, 2)
