"""Signals, exit statuses and child processes of `command_line.run`, tested in other processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
PRELUDE = """
import hashlib, os, sys, threading, time
from pathlib import Path
from examples.pose.cli import child_processes, command_line, interruption
from examples.pose.cli.errors import UserError

def run_c_code():
    # Python runs no signal handler during this call, as during a compilation by XLA.
    clock = time.pthread_getcpuclockid(threading.get_ident())
    threading.Thread(target=print_ready_after_work, args=(clock,), daemon=True).start()
    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)

def print_ready_after_work(clock):
    # Only the call in C takes so much processor time.
    end = time.clock_gettime(clock) + 0.2
    while time.clock_gettime(clock) < end:
        time.sleep(0.01)
    print('ready', flush=True)
"""
SLEEP = "print('ready', flush=True); time.sleep(60)"
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}


def start(main):
    """Runs a command with the code `main` until it prints "ready"."""
    body = "\n".join(f"    {line}" for line in main.splitlines())
    program = f"{PRELUDE}\ndef main():\n{body}\nsys.exit(command_line.run(main))"
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    line = process.stdout.readline()
    assert line == "ready\n", line + process.communicate()[1]
    return process


def repeat_signal(process, number):
    """Sends a signal until the process has ended.

    Linux delivers a signal once if it is sent again before the process has received it.
    """
    for _ in range(100):
        if process.poll() is not None:
            return
        process.send_signal(number)
        time.sleep(0.3)
    raise AssertionError(f"the process still runs after 100 signals {number}")


def end(process):
    _, errors = process.communicate(timeout=30)
    return process.returncode, errors.strip()


def wait_until_ended(pid):
    for _ in range(100):
        if not is_running(pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} still runs")


def is_running(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", STATUS)
def test_a_signal_prints_one_line_with_the_explanation(number):
    process = start(f"with interruption.explain_stop(lambda: 'All of it was kept.'):\n    {SLEEP}")
    process.send_signal(number)
    assert end(process) == (STATUS[number], "stopped. All of it was kept.")


def test_the_innermost_explanation_is_printed():
    process = start(
        "with interruption.explain_stop(lambda: 'outer'):\n"
        f"    with interruption.explain_stop(lambda: 'inner'):\n        {SLEEP}"
    )
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "stopped. inner")


@pytest.mark.parametrize("number", STATUS)
def test_the_same_signal_twice_ends_even_c_code(number):
    process = start("run_c_code()")
    process.send_signal(number)
    time.sleep(0.5)
    assert process.poll() is None
    repeat_signal(process, number)
    assert end(process)[0] == STATUS[number]


def test_another_signal_does_not_disturb_the_cleanup():
    cleanup = "print('cleaning', flush=True); time.sleep(1); print('clean', flush=True)"
    process = start(f"try:\n    {SLEEP}\nfinally:\n    {cleanup}")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=30)
    assert (output, errors.strip(), process.returncode) == ("clean\n", "stopped.", 130)


CHILD = "[sys.executable, '-c', {code!r}]"
OBEDIENT = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"


@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize("code", [OBEDIENT, STUBBORN])
def test_children_end_with_the_command(number, code, tmp_path):
    pids = tmp_path / "pids"
    process = start(
        "child_processes.PATIENCE_SECONDS = 1\n"
        "with child_processes.stopped_at_end():\n"
        f"    children = [child_processes.start({CHILD.format(code=code)}) for _ in range(2)]\n"
        f"    Path({str(pids)!r}).write_text(' '.join(str(c.pid) for c in children))\n"
        "    time.sleep(1)\n"
        f"    {SLEEP}"
    )
    children = [int(pid) for pid in pids.read_text().split()]
    assert all(map(is_running, children))
    process.send_signal(number)
    assert end(process)[0] == STATUS[number]
    assert not any(map(is_running, children))


def test_children_end_at_a_second_signal_too(tmp_path):
    pid = tmp_path / "pid"
    process = start(
        f"child = child_processes.start({CHILD.format(code=STUBBORN)})\n"
        f"Path({str(pid)!r}).write_text(str(child.pid))\nrun_c_code()"
    )
    repeat_signal(process, signal.SIGINT)
    assert end(process)[0] == 130
    # The child held the pipes that `end` read to their end, so it is ending at least.
    wait_until_ended(int(pid.read_text()))


@pytest.mark.parametrize(
    "statement, status, message",
    [
        ("raise UserError('no such thing.')", 1, "error: no such thing."),
        ("open('/nowhere/file')", 1, "error: /nowhere/file: No such file or directory"),
        ("raise OSError(28, 'No space left on device', 'f')", 1, "error: f: No space left"),
        ("raise MemoryError('too much')", 1, "error: out of memory: too much"),
        ("return 3", 3, ""),
        ("return", 0, ""),
    ],
)
def test_errors_that_the_user_can_fix_are_one_line(statement, status, message):
    code, errors = end(start(f"print('ready', flush=True)\n{statement}"))
    assert code == status and errors.startswith(message) and len(errors.splitlines()) <= 1


@pytest.mark.parametrize("error", ["ValueError", "KeyError", "TypeError", "RuntimeError"])
def test_bugs_keep_their_traceback(error):
    code, errors = end(start(f"print('ready', flush=True)\nraise {error}('a bug')"))
    assert code == 1 and errors.startswith("Traceback")
    assert errors.splitlines()[-1].startswith(f"{error}: ")


@pytest.mark.parametrize(
    ("module", "arguments", "slow_module"),
    [
        ("examples.pose.train", ["--run", "run"], "keras"),
        ("examples.web.build", ["--run", "run", "--output", "page"], "keras"),
        ("benchmarks.operator", [], "numpy"),
    ],
)
def test_ctrl_c_while_a_command_imports_its_modules(module, arguments, slow_module, tmp_path):
    """A module that sleeps stands in for one that takes long to import.

    `benchmarks.operator` imports NumPy at its top, before `command_line.run` handles signals.
    """
    (tmp_path / f"{slow_module}.py").write_text(f"import time\n{SLEEP}\n")
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test that runs in the background of a shell inherits that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    line = process.stdout.readline()
    assert line == "ready\n", line + process.communicate()[1]
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "stopped.")


def test_handlers_are_restored():
    from examples.pose.cli import command_line

    before = [signal.getsignal(number) for number in STATUS]
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        assert command_line.run(lambda: None) == 0
    assert [signal.getsignal(number) for number in STATUS] == before
    assert len(os.listdir("/proc/self/fd")) == files
