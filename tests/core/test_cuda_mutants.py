import pytest

from tests.core import cuda_mutants
from tests.core.mutation_testing import REPOSITORY


@pytest.mark.parametrize("mutant", cuda_mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_mutants_apply_to_the_kernels_as_they_are(mutant):
    path = REPOSITORY / "custom_ops/core" / mutant.file
    assert path.read_text().count(mutant.old) == 1
