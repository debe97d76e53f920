"""The option `--sample` of `conftest.py`."""

from types import SimpleNamespace

import pytest

from tests import conftest


def sample(ids, one_of):
    """Returns the tests that `--sample` keeps, and those that it leaves out."""
    left_out = []
    items = [SimpleNamespace(nodeid=nodeid) for nodeid in ids]
    config = SimpleNamespace(
        getoption={"--sample": one_of}.get,
        hook=SimpleNamespace(pytest_deselected=lambda items: left_out.extend(items)),
    )
    conftest.pytest_collection_modifyitems(config, items)
    return [item.nodeid for item in items], [item.nodeid for item in left_out]


IDS = [f"test_a.py::{name}[{number}]" for name in ("test_b", "test_c") for number in range(600)]


def test_without_the_option_all_tests_run():
    assert sample(["test_a.py::test_alone", *IDS], 1) == (["test_a.py::test_alone", *IDS], [])


@pytest.mark.parametrize("one_of", [2, 6])
def test_a_sample_has_every_test_with_some_of_its_parameters(one_of):
    kept, left_out = sample(["test_a.py::test_alone", *IDS], one_of)
    assert sorted(kept + left_out) == sorted(["test_a.py::test_alone", *IDS])
    assert {"test_a.py::test_alone", IDS[0], IDS[600]} <= set(kept)
    assert len(kept) == pytest.approx(1200 / one_of, rel=0.2)
    assert sample(["test_a.py::test_alone", *IDS], one_of)[0] == kept
