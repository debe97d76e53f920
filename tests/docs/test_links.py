"""Links within the repository lead to files and headings that exist."""

import pytest

from tests.docs.pages import PAGES, ROOT, anchors, links, name_of

OTHER_PAGES = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG")]
OTHER_PAGES += sorted((ROOT / "examples").rglob("*.md"))
OTHER_PAGES += sorted((ROOT / "custom_ops").rglob("*.md"))


@pytest.mark.parametrize("page", PAGES + OTHER_PAGES, ids=name_of)
def test_links(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} does not exist"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"
