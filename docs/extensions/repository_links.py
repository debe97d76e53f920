"""Sphinx extension: pages whose text lies outside docs, and links to files outside docs.

The Markdown files are written for readers of the repository. On the site some of their links must
change: a link to a file that is a page leads to the page, and a link to any other file outside
docs becomes a download of that file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# Pages, and the files in the repository that hold their text.
OUTSIDE_PAGES = {
    "changelog": "CHANGELOG.md",
    "contributing": "CONTRIBUTING.md",
    "own_pictures": "examples/pose/datasets/keypoints/README.md",
    "pose": "examples/pose/README.md",
    "quickstart": "examples/quickstart/README.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s#]+)(#[^)\s]*)?")


def links_for_site(text: str, file: Path, page: Path, docs: Path) -> str:
    """Rewrites the links in the text of `file`, which is shown as the page `page` in `docs`."""
    pages = {docs.parent / source: docs / f"{name}.md" for name, source in OUTSIDE_PAGES.items()}

    def rewrite(link: re.Match) -> str:
        picture, label, path, anchor = link.groups(default="")
        target = Path(os.path.normpath(file.parent / path))
        target = pages.get(target, target)
        path = os.path.relpath(target, page.parent)
        if not picture and docs not in target.parents:
            return f"[{label}](path:{path}"
        return f"{picture}[{label}]({path}{anchor}"

    return _LINK.sub(rewrite, text)


def setup(app) -> dict:
    """Registers the conversion for all pages."""

    def convert(app, docname: str, source: list[str]) -> None:
        docs = Path(app.srcdir)
        file = page = docs / f"{docname}.md"
        if docname in OUTSIDE_PAGES:
            file = docs.parent / OUTSIDE_PAGES[docname]
            app.env.note_dependency(str(file))
            source[0] = file.read_text()
        source[0] = links_for_site(source[0], file, page, docs)

    app.connect("source-read", convert)
    return {"parallel_read_safe": True}
