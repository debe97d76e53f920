import shutil
import subprocess
import sys

import pytest

from tests.core import cuda_mutants
from tests.fuzz.mutants import REPOSITORY


@pytest.mark.parametrize("mutant", cuda_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_apply_to_the_kernels_as_they_are(mutant):
    path = REPOSITORY / "custom_ops/core" / mutant.file
    assert path.read_text().count(mutant.old) == 1


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_the_emulated_tests_find_a_missing_barrier():
    command = [sys.executable, "-m", "tests.core.cuda_mutants", "--only", "sliding"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
