import shutil
import subprocess
import sys

import pytest

from tests.core.mutation_testing import REPOSITORY
from tests.fuzz import mutants


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_apply_to_core_as_it_is(mutant):
    path = REPOSITORY / "custom_ops/core" / mutant.file
    assert path.read_text().count(mutant.old) == 1


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_fuzzer_finds_four_mistakes():
    """A sanitizer finds two, wrong values another, and splitting the work differently the last."""
    names = ["one pixel read beyond", "between tiles", "depends on the split"]
    command = [sys.executable, "-m", "tests.fuzz.mutants", "--only", *names]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 2 + 4, done.stdout  # a header of two lines
