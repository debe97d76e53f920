"""Workflows, `.ci/run`, pre-commit, the Makefile and `CITATION.cff` agree with each other."""

import re
from pathlib import Path

import pytest

from tf_boxconv.version import __version__

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CALLERS = [ROOT / ".ci/run", ROOT / ".pre-commit-config.yaml", *WORKFLOWS]


def commands(path: Path) -> str:
    """The text of a script or workflow without comments."""
    return re.sub(r"#.*", "", path.read_text())


def called_targets(path: Path) -> set[str]:
    return set(
        re.findall(
            r"(?:^|[:-]|step(?:_if_time)?) *make ([a-z][a-z-]*)", commands(path), re.MULTILINE
        )
    )


@pytest.mark.parametrize("path", CALLERS, ids=lambda path: path.name)
def test_called_targets_exist(path):
    defined = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert called_targets(path)
    assert called_targets(path) <= defined


def test_workflows_run_every_target_of_ci():
    in_workflows = set().union(*map(called_targets, WORKFLOWS))
    assert called_targets(ROOT / ".ci/run") <= in_workflows


def test_workflows_and_ci_build_cuda_kernels_with_the_same_compiler():
    def packages(path):
        return set(re.findall(r"nvidia-[a-z-]+==[0-9.]+", commands(path)))

    assert packages(ROOT / ".ci/run")
    assert packages(ROOT / ".github/workflows/ci.yml") == packages(ROOT / ".ci/run")


def test_workflows_test_each_supported_python():
    keras_range = re.findall(r"find_python.sh ([0-9.]+)", (ROOT / "Makefile").read_text())
    oldest, newest = (int(version.removeprefix("3.")) for version in keras_range)
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github/workflows/ci.yml").read_text())
    supported = [f"3.{minor}" for minor in range(oldest, newest + 1)]
    assert re.findall(r'"([0-9.]+)"', matrix[1]) == supported


def test_the_wheel_is_for_each_supported_tensorflow():
    extra = re.search(
        r"^tensorflow = .*>=2\.(\d+),<2\.(\d+)", (ROOT / "pyproject.toml").read_text(), re.M
    )
    supported = [f"2.{minor}" for minor in range(int(extra[1]), int(extra[2]))]
    in_wheel = re.search(r"^WHEEL_TENSORFLOWS \?= (.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert in_wheel[1].split() == supported
    for page in ("README.md", "docs/install.md", "docs/support.md"):
        assert f"{supported[0]} to {supported[-1]}" in (ROOT / page).read_text()


def test_citation_has_the_version_of_the_package():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
