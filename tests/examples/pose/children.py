"""Checks that child processes do not outlive the command that started them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest


def assert_end_with(program: str, pid_files: Sequence[Path]) -> None:
    """Runs a program until its children have written their ids, then checks that SIGTERM ends all.

    Args:
        program: Python source.
        pid_files: The files to which the children write their process ids.
    """
    process = subprocess.Popen([sys.executable, "-c", program])
    while process.poll() is None and not all(f.exists() and f.read_text() for f in pid_files):
        time.sleep(0.1)
    process.terminate()
    assert process.wait() == 128 + signal.SIGTERM
    for file in pid_files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)
