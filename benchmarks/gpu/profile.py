"""A few calls of the main kernels, for a profiler.

ncu python -m benchmarks.gpu.profile
"""

from __future__ import annotations

import sys

from benchmarks import command_line
from benchmarks.gpu import bandwidth
from benchmarks.gpu.device import Gpu
from benchmarks.gpu.library import Library, build


def main(argv: list[str] | None = None) -> int:
    """Runs forward and backward on 64x64 planes, in both types that matter for networks."""
    command_line.make_parser("gpu.profile", __doc__).parse_args(argv)
    device = Gpu()
    library = Library(build(device.architecture), device)
    for dtype in bandwidth.DTYPES:
        problem = bandwidth.problem_of(64, dtype, "channels_last", batch=32)
        tensors = bandwidth.tensors_of(device, problem)
        bandwidth.calls_of(library, tensors, bandwidth.MIXED)["forward+backward"]()
        device.synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(command_line.run(main))
