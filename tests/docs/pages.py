"""The pages of the repository, and their parts: code blocks, headings, links."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

_FENCE = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    """The path of a page relative to the repository, for test ids."""
    return str(page.relative_to(ROOT))


def code_blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """The code blocks of a language, each with the number of its first line."""
    text = page.read_text()
    return [
        (text.count("\n", 0, match.start(2)) + 1, match[2])
        for match in _FENCE.finditer(text)
        if match[1] == language
    ]


def links(page: Path) -> list[str]:
    """The targets of all links and pictures that stay within the repository."""
    targets = _LINK.findall(_CODE.sub("", page.read_text()))
    return [
        target for target in targets if "://" not in target and not target.startswith("mailto:")
    ]


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST write them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
