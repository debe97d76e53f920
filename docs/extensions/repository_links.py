"""Sphinx extension: pages from the repository's root, and links to files outside docs.

The Markdown files are written for readers of the repository. On the site some of their links must
change: a link to a file outside docs becomes a download of that file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

# Pages whose text is a file in the root of the repository.
ROOT_PAGES = {"changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")


def links_for_site(text: str, file: Path, page: Path, docs: Path) -> str:
    """Rewrites the links in the text of `file`, which is shown as the page `page` in `docs`."""

    def rewrite(link: re.Match) -> str:
        target = Path(os.path.normpath(file.parent / link[1]))
        relative = os.path.relpath(target, page.parent)
        return f"]({relative}" if docs in target.parents else f"](path:{relative}"

    return _LINK.sub(rewrite, text)


def setup(app) -> dict:
    """Registers the conversion for all pages."""

    def convert(app, docname: str, source: list[str]) -> None:
        docs = Path(app.srcdir)
        file = page = docs / f"{docname}.md"
        if docname in ROOT_PAGES:
            file = docs.parent / ROOT_PAGES[docname]
            app.env.note_dependency(str(file))
            source[0] = file.read_text()
        source[0] = links_for_site(source[0], file, page, docs)

    app.connect("source-read", convert)
    return {"parallel_read_safe": True}
