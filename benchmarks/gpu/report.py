"""`make cuda-report`: what the machine code of the CUDA kernels says about their speed.

    python -m benchmarks.gpu.report

Compiles the kernels for sm_80 and sm_90 and prints, for each kernel, registers, spills, shared
memory, blocks per multiprocessor, and instructions per pixel of its inner loops. From the
instructions of a pass it derives the fraction of copy bandwidth that they allow. Also compiles the
float32 kernels for sm_75 and as PTX. Needs nvcc and cuobjdump (`pip install nvidia-cuda-cuobjdump
nvidia-cuda-nvdisasm`), but no GPU. Warnings of nvcc are errors. The exit status is 1 if a float32
kernel of the table spills registers.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from benchmarks import command_line
from benchmarks.gpu.library import CUSTOM_OPS, GpuError, compilations, find_nvcc

LINE = 64  # pixels of a line, for shared memory and the loops' share
GROUP = 8  # outputs of a group, as kGroup


@dataclasses.dataclass(frozen=True)
class Device:
    """Figures from NVIDIA's data sheets."""

    name: str
    multiprocessors: int
    clock: float  # Hz
    bandwidth: float  # bytes a second
    shared_bytes: int  # per multiprocessor
    max_blocks: int = 32
    registers: int = 65536
    lanes: int = 128  # instructions per clock and multiprocessor, counted for single lanes


DEVICES = {
    "sm_80": Device("A100", 108, 1.41e9, 2.04e12, 164 << 10),
    "sm_90": Device("H100", 132, 1.755e9, 3.35e12, 228 << 10),
}
TYPES = {"float": "float32", "BFloat16": "bfloat16"}
# The kernels of a pass over 64 channels of channels-last images, one box per channel. A kernel is
# (Compute, source, output), where T is the type of the images and V that of sums.
PASSES = {
    "forward": [("kSums", "T", "V"), ("kSums", "V", "T")],
    "backward": [
        ("kSums", "T", "V"),
        ("kSumsAndProducts", "V", "T"),
        ("kSums", "T", "V"),
        ("kProducts", "V", "V"),
    ],
}
COMPUTE = ("kSums", "kProducts", "kSumsAndProducts")  # in the order of the enumeration
COPIES = {"forward": 1.0, "backward": 1.5}  # 2 and 3 tensors read or written; a copy has 2
PRODUCT_BYTES = 7 * 8  # of a thread, as kProductCount doubles


@dataclasses.dataclass
class Block:
    """A basic block: instructions that are executed together."""

    begin: int
    instructions: list[str]
    successors: list[int]


@dataclasses.dataclass
class Kernel:
    """A kernel's machine code and the resources that ptxas reports."""

    blocks: list[Block]
    registers: int
    spills: int

    def shortest(self, first: int, last: int, wanted: dict[str, int]) -> int | None:
        """Finds the shortest way forward from block `first` to block `last`.

        The way must have at least `wanted[pattern]` instructions that match each pattern. Returns
        its number of instructions, or None if there is no such way.
        """
        counts = [
            tuple(sum(bool(re.search(p, text)) for text in block.instructions) for p in wanted)
            for block in self.blocks[first : last + 1]
        ]
        for total, n in zip(map(sum, zip(*counts, strict=True)), wanted.values(), strict=True):
            if total < n:
                return None

        @functools.cache
        def best(index: int, missing: tuple[int, ...]) -> float:
            block = self.blocks[index]
            found = zip(counts[index - first], missing, strict=True)
            missing = tuple(max(0, n - count) for count, n in found)
            length = len(block.instructions)
            if index == last:
                return float("inf") if any(missing) else length
            following = [s for s in block.successors if index < s <= last]
            return length + min((best(s, missing) for s in following), default=float("inf"))

        found = best(first, tuple(wanted.values()))
        return None if found == float("inf") else int(found)

    def loops(self) -> list[tuple[int, int]]:
        """The first and last block of each loop."""
        return [
            (successor, index)
            for index, block in enumerate(self.blocks)
            for successor in block.successors
            if successor <= index
        ]


def find_cuobjdump() -> str:
    """Finds cuobjdump on the `PATH`, in nvcc's folder or in Python's packages."""
    folders = [Path(find_nvcc()).resolve().parent]
    folders += Path(sysconfig.get_path("purelib")).glob("nvidia/*/bin")
    for candidate in (shutil.which("cuobjdump"), *(folder / "cuobjdump" for folder in folders)):
        if candidate and Path(candidate).exists():
            return str(candidate)
    raise GpuError(
        "cuobjdump was not found: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
    )


def basic_blocks(code: str) -> list[Block]:
    """Divides the disassembly of a function into basic blocks."""
    found = re.findall(r"/\*([0-9a-f]{4,})\*/\s+([^;]*);", code)
    instructions = [(int(address, 16), text) for address, text in found]

    def target(text: str) -> int | None:
        branch = re.search(r"\bBRA\b.*?\b0x([0-9a-f]+)", text)
        return int(branch[1], 16) if branch else None

    starts = {instructions[0][0]}
    for i, (_, text) in enumerate(instructions[:-1]):
        goal = target(text)
        if goal is not None:
            starts.add(goal)
        if goal is not None or re.search(r"\b(EXIT|RET|BRX)\b", text):
            starts.add(instructions[i + 1][0])
    order = sorted(starts)
    numbers = {address: number for number, address in enumerate(order)}
    blocks = [Block(address, [], []) for address in order]
    current = -1
    for address, text in instructions:
        current = numbers.get(address, current)
        blocks[current].instructions.append(text)
    for number, block in enumerate(blocks):
        last = block.instructions[-1]
        goal = target(last)
        if goal is not None:
            block.successors.append(numbers[goal])
        ends = re.search(r"\b(EXIT|RET|BRX|BRA)\b", last) and not last.startswith("@")
        conditional = re.search(r"\bBRA\b\s+!?U?P\d", last)
        if (not ends or conditional) and number + 1 < len(blocks):
            block.successors.append(number + 1)
    return blocks


def compile_source(type_: str, flags: list[str], output: Path) -> str:
    """Compiles the kernels of an element type; returns what ptxas says about them."""
    common = ["-std=c++17", "-O3", "-DNDEBUG", "-Werror", "all-warnings", "-Xptxas", "-v"]
    command = [find_nvcc(), *common, *flags, f"-I{CUSTOM_OPS}"]
    command += [*compilations()[f"box_conv_{type_}.o"], "-o", output]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise GpuError(done.stderr)
    return done.stderr


def compile_kernels(architecture: str, type_: str, folder: Path) -> dict[tuple, Kernel]:
    """Compiles the kernels of an element type; returns those that slide windows."""
    cubin = folder / f"{type_}_{architecture}.cubin"
    messages = compile_source(type_, [f"-arch={architecture}", "-cubin"], cubin)
    report = re.findall(
        r"entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads.*?"
        r"Used (\d+) registers",
        messages,
        re.DOTALL,
    )
    tool = Path(find_cuobjdump())
    environment = {**os.environ, "PATH": f"{tool.parent}{os.pathsep}{os.environ['PATH']}"}
    dump = subprocess.run(
        [tool, "-sass", cubin], capture_output=True, text=True, check=True, env=environment
    )
    code = dict(part.split("\n", 1) for part in dump.stdout.split("Function : ")[1:])
    demangled = subprocess.run(["c++filt", *code], capture_output=True, text=True, check=True)
    readable = dict(zip(code, demangled.stdout.splitlines(), strict=True))
    kernels = {}
    for name, stores, loads, registers in report:
        arguments = re.search(
            r"slide_lines<.*?\)(\d), true, (\w[\w:]*), (\w[\w:]*), ", readable[name]
        )
        if arguments:
            ends = ["V" if t == "float" else "T" for t in arguments.groups()[1:]]
            kernels[(COMPUTE[int(arguments[1])], *ends)] = Kernel(
                basic_blocks(code[name]), int(registers), int(stores) + int(loads)
            )
    return kernels


def kernel_of(kernels: dict[tuple, Kernel], type_: str, key: tuple[str, ...]) -> Kernel:
    """Returns the kernel of a pass. With float32 images, T and V are the same type."""
    return kernels[tuple("V" if end == "T" and type_ == "float" else end for end in key)]


def per_pixel(kernel: Kernel, pixels: int, options: list[dict[str, int]]) -> float:
    """Instructions per pixel of the innermost loop that has what one of `options` asks for.

    What an option asks for (see `Kernel.shortest`) takes `pixels` pixels. The loop may be unrolled.
    """
    loops = sorted(kernel.loops(), key=lambda ends: ends[1] - ends[0])
    for first, last in loops:
        found = []
        for wanted, times in itertools.product(options, (1, 2, 4)):
            more = {pattern: n * times for pattern, n in wanted.items()}
            length = kernel.shortest(first, last, more)
            if length is not None:
                found.append(length / (pixels * times))
        if found:
            return min(found)
    raise GpuError(f"no loop has {options}: update the patterns in {Path(__file__).name}")


def instructions(kernel: Kernel, key: tuple[str, ...], half: bool) -> tuple[float, float, float]:
    """Instructions per pixel: to copy to shared memory, to sum octets, and to slide windows."""
    packets = [{r"\bLDGSTS.*\.128": 1}, {r"\bLDG\S*\.128": 1, r"\bSTS\S*\.128": 1}]
    pixels = 8 if half and key[1] == "T" else 4
    copy = per_pixel(kernel, pixels, packets)
    octets = per_pixel(kernel, GROUP, [{r"\bLDS\b.*\[R": GROUP, r"\bFADD": GROUP, r"\bSTS\b": 1}])
    slide = {r"\bLDS\b.*\[R": 2 * GROUP}
    if key[0] != "kProducts":  # sums: an octet enters the core and one leaves; eight are stored
        slide |= {r"\bLDS\b.*\[R": 2 * GROUP + 2, r"\bFFMA": 2 * GROUP, r"\bFSETP": 2}
        slide |= {r"\bSTG\.E(\.U16)? ": GROUP}
    if key[0] != "kSums":
        slide |= {r"\bLDG\.E(\.U16)?\.CONSTANT ": GROUP}
    return copy, octets, per_pixel(kernel, GROUP, [slide])


def report(folder: Path) -> bool:
    """Prints the tables; returns whether the float32 kernels spill no registers."""
    spilled = False
    totals = []
    print("| kernel | type | device | registers | spills, bytes | shared memory, bytes |", end=" ")
    print("blocks/SM | instructions/pixel: copy | octets | slide | sum |\n" + "| --- " * 11 + "|")
    for architecture, type_ in itertools.product(DEVICES, TYPES):
        device = DEVICES[architecture]
        kernels = compile_kernels(architecture, type_, folder)
        for name, keys in PASSES.items():
            total = 0.0
            for key in keys:
                kernel = kernel_of(kernels, type_, key)
                parts = instructions(kernel, key, half=type_ != "float")
                total += sum(parts)
                spilled |= kernel.spills > 0 and type_ == "float"
                shared = (LINE + 2 * GROUP + LINE // GROUP + 2) * 32 * 4
                shared += 0 if key[0] == "kSums" else 32 * PRODUCT_BYTES
                blocks = min(
                    device.max_blocks,
                    device.shared_bytes // (shared + 1024),  # 1 KiB is reserved for each block
                    device.registers // (-(-kernel.registers // 8) * 8 * 32),
                )
                cells = " | ".join(f"{part:.1f}" for part in (*parts, sum(parts)))
                what = f"{name}: {key[0][1:]}, {key[1]} to {key[2]} | {TYPES[type_]}"
                uses = f"{kernel.registers} | {kernel.spills} | {shared} | {blocks}"
                print(f"| {what} | {architecture} | {uses} | {cells} |", flush=True)
            totals.append((architecture, type_, name, total))
    print("\nWith all instruction slots used, and nothing but instructions to wait for:\n")
    print("| pass | type | device | instructions/pixel | fraction of copy bandwidth |")
    print("| --- " * 5 + "|")
    for architecture, type_, name, total in totals:
        device = DEVICES[architecture]
        slots = device.multiprocessors * device.lanes * device.clock
        bytes_moved = COPIES[name] * 2 * (4 if type_ == "float" else 2)
        fraction = slots / total * bytes_moved / device.bandwidth
        cells = f"{name} | {TYPES[type_]} | {device.name} | {total:.0f} | {fraction:.2f}"
        print(f"| {cells} |")
    return not spilled


def main(argv: list[str] | None = None) -> int:
    """The command `python -m benchmarks.gpu.report`."""
    command_line.make_parser("gpu.report", __doc__).parse_args(argv)
    try:
        with tempfile.TemporaryDirectory() as folder:
            compile_source("float", ["-arch=sm_75", "-cubin"], Path(folder) / "75.cubin")
            compile_source("float", ["-arch=compute_90", "-ptx"], Path(folder) / "90.ptx")
            return 0 if report(Path(folder)) else 1
    except GpuError as error:
        print(f"cuda-report: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(command_line.run(main))
