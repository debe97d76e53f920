"""Makes deliberate mistakes in a copy of core, and measures how soon a program finds each."""

import argparse
import dataclasses
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FAILURES = ("FAILED", "ERROR: AddressSanitizer", "runtime error")  # as the programs print them
TIMEOUT_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A mistake: replaces `old`, which must occur once in this file of core, by `new`."""

    name: str
    file: str
    old: str
    new: str

    def changed(self, text: str) -> str:
        """Returns the text of the file with the mistake."""
        if text.count(self.old) != 1:
            raise SystemExit(
                f"{self.file} holds {self.old!r} {text.count(self.old)} times, want 1: update the "
                f"mutant {self.name!r}"
            )
        return text.replace(self.old, self.new)


def run(
    description: str, mutants: Sequence[Mutant], target: str, arguments: Sequence[str] = ()
) -> int:
    """A command that makes each mistake and prints a Markdown table of what found it.

    Args:
        description: A sentence for the help of the command.
        mutants: The mistakes.
        target: The program to build and run.
        arguments: Arguments of the program.

    Returns:
        The exit status: 1 if a mistake was not found.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of mutants")
    parts = parser.parse_args().only
    chosen = [mutant for mutant in mutants if any(part in mutant.name for part in parts)]
    missed = 0
    print("| mistake | found after | first report |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder)
        for mutant in chosen:
            path = folder / "custom_ops/core" / mutant.file
            original = path.read_text()
            path.write_text(mutant.changed(original))
            _call("cmake", "--build", folder / "build", "--target", target, "--parallel", "2")
            found = _first_failure([folder / "build" / target, *arguments])
            path.write_text(original)
            missed += found is None
            after, report = (f"{found[0]:.1f} s", f"`{found[1]}`") if found else ("not found", "")
            print(f"| {mutant.name} | {after} | {report} |", flush=True)
    return 1 if missed or not chosen else 0


def _prepare(folder: Path) -> None:
    """Copies and configures core, for the baseline instruction set alone, which builds faster."""
    for part in ("custom_ops", "tests/fuzz", "tests/core"):
        shutil.copytree(REPOSITORY / part, folder / part)
    lists = folder / "custom_ops/CMakeLists.txt"
    lists.write_text(lists.read_text().replace('"x86_64|AMD64"', '"none"'))
    _call("cmake", "-S", lists.parent, "-B", folder / "build", "-DBOXCONV_CORE_TESTS=ON")


def _call(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise SystemExit(done.stdout[-3000:] + done.stderr[-3000:])


def _first_failure(command: Sequence[str | Path]) -> tuple[float, str] | None:
    """Runs a program until it reports a failure.

    Returns:
        The seconds and the report, or None if the program succeeds.
    """
    started = time.monotonic()
    with subprocess.Popen(
        ["timeout", str(TIMEOUT_SECONDS), *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as program:
        for line in program.stdout:
            if any(failure in line for failure in FAILURES):
                seconds = time.monotonic() - started
                # The fuzzer describes the problem first, and what is wrong on the next line.
                details = next(program.stdout, line) if line.startswith("FAILED ") else line
                program.kill()
                return seconds, details.strip()
    if program.returncode == 0:
        return None
    return time.monotonic() - started, f"exit status {program.returncode}"
