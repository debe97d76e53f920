"""The suites of `benchmarks.operator`: what they compare and cover."""

import pickle

import pytest

from benchmarks import rivals
from benchmarks.cases import COPY, DEPTHWISE_3, PASSES, Candidate, Case
from benchmarks.suites import STANDARD, SUITES, size_of


@pytest.mark.parametrize("name", SUITES)
def test_every_case_has_boxes_and_baselines(name):
    suite = SUITES[name]
    cases = [entry.case for entry in suite.entries]
    assert len(set(cases)) == len(cases) > 0
    for entry in suite.entries:
        assert len(set(entry.candidates)) == len(entry.candidates)
        assert {DEPTHWISE_3, COPY} <= set(entry.candidates)
        assert any(candidate.operator == "box" for candidate in entry.candidates)
        assert {candidate.operator for candidate in entry.candidates} <= set(rivals.RIVALS)
        for candidate in entry.candidates:
            assert candidate.size is None or candidate.size % 2
        for pass_name in PASSES:
            for candidate in (DEPTHWISE_3, COPY, Candidate("box", 31)):
                assert rivals.reason_to_skip(entry.case, candidate, pass_name) is None


@pytest.mark.parametrize("name", SUITES)
def test_suites_can_be_pickled_for_workers(name):
    assert pickle.loads(pickle.dumps(SUITES[name])) == SUITES[name]


@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.axis])
def test_every_case_has_its_own_place_on_the_axis(name):
    suite = SUITES[name]
    assert suite.axis_label
    places = {suite.axis(e.case, Candidate("box", size)) for e in suite.entries for size in (3, 7)}
    assert places == {3, 7} if suite.axis is size_of else len(places) == len(suite.entries)


@pytest.mark.parametrize("name", [name for name, suite in SUITES.items() if suite.axis])
def test_no_line_has_two_points_at_one_place(name):
    suite = SUITES[name]
    points = [
        (suite.line(entry.case, candidate), suite.axis(entry.case, candidate))
        for entry in suite.entries
        for candidate in entry.candidates
    ]
    points = [point for point in points if point[0] is not None]
    assert len(set(points)) == len(points) > 0


def test_the_figure_of_sizes_has_a_line_of_boxes_for_each_plane():
    suite = SUITES["sizes_and_planes"]
    lines = {}
    for entry in suite.entries:
        for candidate in entry.candidates:
            lines.setdefault(suite.line(entry.case, candidate), []).append(candidate.size)
    del lines[None]
    assert {name: (sizes[0], sizes[-1]) for name, sizes in lines.items()} == {
        "box on 64x64": (1, 63),
        "box on 512x512": (1, 511),
        "box on 2048x2048": (1, 2047),
        "depthwise on 64x64": (3, 31),
        "portable on 64x64": (3, 63),
    }
    assert suite.entries[0].case == STANDARD


def test_suites_cover_sizes_planes_channels_and_dtypes():
    sizes = {c.size for e in SUITES["sizes"].entries for c in e.candidates if c.operator == "box"}
    assert {1, 127} <= sizes
    elements = [entry.case.elements for entry in SUITES["planes"].entries]
    assert len(set(elements)) == 1
    assert {e.case.height for e in SUITES["planes"].entries} >= {16, 2048}
    assert {e.case.channels for e in SUITES["channels"].entries} >= {1, 512}
    assert {(e.case.dtype, e.case.data_format) for e in SUITES["dtypes"].entries} == {
        (dtype, data_format)
        for dtype in rivals.FLOAT_TYPES
        for data_format in ("channels_last", "channels_first")
    }


def test_names_of_cases_differ():
    assert str(Case(4, 64, 32, 8)) == "4x64x32x8"
    first = Case(4, 64, 32, 8, multiplier=2, dtype="float16", data_format="channels_first")
    assert first.shape == (4, 8, 64, 32) and first.outputs == 2 * first.elements
    assert str(first) == "4x8x64x32, 2 boxes, float16, NCHW"
    assert str(Case(4, 64, 32, 8, normalization="valid")) == "4x64x32x8, valid"
    for suite in SUITES.values():
        assert len({str(entry.case) for entry in suite.entries}) == len(suite.entries)
