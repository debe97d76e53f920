import shutil
import subprocess
import sys

import pytest

from tests.fuzz import mutants


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_apply_to_core_as_it_is(mutant):
    path = mutants.REPOSITORY / "custom_ops/core" / mutant.file
    assert path.read_text().count(mutant.old) == 1


# Three mistakes: one is found by a sanitizer, one by wrong values, one by splitting the work
# differently.
@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
@pytest.mark.parametrize("name", ["one pixel read beyond", "between tiles", "depends on the split"])
def test_the_fuzzer_finds(name):
    command = [sys.executable, "-m", "tests.fuzz.mutants", "--only", name]
    done = subprocess.run(command, cwd=mutants.REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
