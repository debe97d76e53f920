"""Progress of long work, on standard error: a bar on a terminal, sparse lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import rich.console
import rich.progress

Item = TypeVar("Item")

# Least time between two lines if standard error is not a terminal, as in the log of a batch job.
SECONDS_BETWEEN_LINES = 60.0


def track(items: Iterable[Item], title: str, total: int | None = None) -> Iterator[Item]:
    """Yields items and shows how many of them are done.

    Args:
        items: The items.
        title: A description of the work, for instance "reading lsp train".
        total: How many items there are, if `items` has no length.
    """
    console = rich.console.Console(stderr=True)
    if console.is_terminal:
        yield from rich.progress.track(items, title, total, console=console, transient=True)
        return
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    of_total = "" if total is None else f" of {total}"
    last_line = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
            print(f"{title}: {done}{of_total} done", file=sys.stderr, flush=True)
            last_line = time.monotonic()
        yield item
