"""Links of the repository's Markdown files on the documentation site."""

from pathlib import Path

import pytest

from tests.docs.extensions import load

ROOT = Path("/repository")
DOCS = ROOT / "docs"


@pytest.mark.parametrize(
    ("file", "page", "link", "expected"),
    [
        ("docs/a.md", "a.md", "b.md#part", "b.md#part"),
        ("docs/notes/a.md", "notes/a.md", "../b.md", "../b.md"),
        ("docs/a.md", "a.md", "../BUILD", "path:../BUILD"),
        ("docs/notes/a.md", "notes/a.md", "../../x/y.h", "path:../../x/y.h"),
        ("CHANGELOG.md", "changelog.md", "docs/b.md", "b.md"),
        ("CHANGELOG.md", "changelog.md", "LICENSE", "path:../LICENSE"),
        ("CONTRIBUTING.md", "contributing.md", "CHANGELOG.md#010", "changelog.md#010"),
        ("docs/a.md", "a.md", "../examples/x.md#part", "path:../examples/x.md"),
        ("docs/a.md", "a.md", "https://example.org/b.md", "https://example.org/b.md"),
        ("docs/a.md", "a.md", "#part", "#part"),
    ],
)
def test_links_for_site(file, page, link, expected):
    convert = load("repository_links").links_for_site
    assert convert(f"See [it]({link}).", ROOT / file, DOCS / page, DOCS) == f"See [it]({expected})."


def test_a_picture_outside_docs_stays_a_picture():
    convert = load("repository_links").links_for_site
    text = convert("![It](b.png)", ROOT / "examples/README.md", DOCS / "pose.md", DOCS)
    assert text == "![It](../examples/b.png)"
