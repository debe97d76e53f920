"""Prepares data sets that consist of official files: splits, broken files, locks and errors."""

from __future__ import annotations

import abc
import contextlib
import json
import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from etils import epath
from google.protobuf import json_format

from examples.pose.datasets import official_files, sources
from examples.pose.datasets.official_files import Root
from examples.pose.files.file_lock import lock

# Largest number of broken files that a message lists.
_MAX_LISTED = 1000


class Broken:
    """Collects files and records that cannot be used, to report all of them at the end."""

    def __init__(self):
        self.messages: list[str] = []
        self._known: set[str] = set()
        self._all_missing = True

    def add(self, error: Exception | str) -> None:
        """Adds a file or record, by its error. Splits may share files, so it may come twice."""
        if str(error) not in self._known:
            self.messages.append(str(error))
        self._known.add(str(error))
        self._all_missing &= isinstance(error, FileNotFoundError)

    def check(self, remedy: str = "") -> None:
        """Raises an error that lists all files and records that were added, if there are any.

        Raises:
            FileNotFoundError: All errors are missing files.
            ValueError: There are other errors.
        """
        if not self.messages:
            return
        error = FileNotFoundError if self._all_missing else ValueError
        if len(self.messages) == 1:
            raise error(f"{self.messages[0]} {remedy}".strip())
        lines = self.messages[:_MAX_LISTED]
        if len(self.messages) > _MAX_LISTED:
            lines.append(f"and {len(self.messages) - _MAX_LISTED} more")
        raise error(
            f"{len(self.messages)} files or records cannot be used. {remedy}\n  "
            + "\n  ".join(lines)
        )


class FromFiles(abc.ABC):
    """Mixin of a `tfds` builder that reads labels and pictures from official files.

    Attributes:
        all_splits: Names of the data set's splits.
        wanted: Splits that must be prepared, None for all. Other splits are prepared too if their
            files are in the manual folder.
        skip_broken: Whether to leave out files and records that cannot be used. Otherwise they are
            an error.
        prepares_changed_files: Whether to prepare again if the files have changed. Otherwise that
            is an error: the files of a public data set should not change.
        broken: The files and records that the last preparation could not use.
    """

    all_splits: tuple[str, ...] = ()
    prepares_changed_files = False
    wanted: Collection[str] | None = None
    skip_broken = False

    @abc.abstractmethod
    def local_parts(self, manual_dir: epath.Path | None) -> dict[str, dict[str, Root | None]]:
        """Paths of `labels` and `pictures` of each split in the manual folder; None if missing."""

    def fingerprints(self, manual_dir: epath.Path | None) -> dict[str, dict[str, Any]]:
        """Fingerprints of the parts of each split in the manual folder."""
        described: dict[str, Any] = {}

        def describe(path):  # Describes each path only once, because splits may share parts.
            if str(path) not in described:
                described[str(path)] = sources.describe(path)
            return described[str(path)]

        return {
            split: {name: describe(path) for name, path in parts.items()}
            for split, parts in self.local_parts(manual_dir).items()
        }

    def splits_to_prepare(self, local: Mapping[str, Mapping[str, Root | None]]) -> list[str]:
        """The wanted splits, and those whose parts are all in the manual folder."""
        wanted = self.all_splits if self.wanted is None else self.wanted
        complete = {name for name, parts in local.items() if all(parts.values())}
        return [split for split in self.all_splits if split in wanted or split in complete]

    def _download_and_prepare(self, dl_manager, *args, **kwargs) -> None:
        self.broken = Broken()
        manual_dir, _ = official_files.manual_folder_of(dl_manager)
        self.info.metadata["sources"] = self.fingerprints(manual_dir)
        super()._download_and_prepare(dl_manager, *args, **kwargs)
        self._check_broken()
        self.info.metadata["left_out"] = self.broken.messages

    def _check_broken(self) -> None:
        if not self.skip_broken:
            self.broken.check("Repair it, or leave it out with --skip_broken (`skip_broken=True`).")

    def _require_examples(
        self, split: str, examples: Iterable[tuple[str, dict[str, Any]]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields the examples of a split.

        Raises:
            ValueError: There are none. `tfds` needs at least one.
        """
        empty = True
        for example in examples:
            empty = False
            yield example
        if empty:
            self._check_broken()
            broken = self.broken.messages
            left_out = f" {len(broken)} were left out, such as: {broken[0]}" if broken else ""
            raise ValueError(
                f"The split {split!r} of {self.name} is empty: no usable label belongs to it."
                + left_out
            )


def prepared_builder(
    make_builder: Callable[[], tfds.core.DatasetBuilder],
    splits: Collection[str],
    manual_dir: str | None,
    skip_broken: bool,
) -> tfds.core.DatasetBuilder:
    """Returns a builder with prepared records of `splits`. Prepares them if necessary.

    Args:
        make_builder: Makes a new builder. A builder looks for records on disk only when it is made.
        splits: Names of the splits.
        manual_dir: The folder that holds official files.
        skip_broken: Whether to leave out files and records that cannot be used.

    Raises:
        ValueError: The official files have changed since the records were prepared.
    """
    builder = make_builder()
    if not _has_records(builder, splits) or _is_outdated(builder, splits, manual_dir):
        with _lock(builder.data_path):
            builder = make_builder()  # Another process may have prepared them in the meantime.
            outdated = _is_outdated(builder, splits, manual_dir)
            if outdated or not _has_records(builder, splits):
                if outdated:
                    changes = _changes(builder, splits, manual_dir)
                    print(f"note: {changes}; prepared again.", file=sys.stderr)
                else:
                    _check_sources(builder, builder.info.splits, manual_dir)
                with _backed_up(builder.data_path):
                    wanted = {*splits, *builder.info.splits}
                    builder = make_builder()
                    _prepare(builder, wanted, manual_dir, skip_broken)
    _check_records(builder, splits)
    _check_sources(builder, splits, manual_dir)
    _report_left_out(builder)
    return builder


def _has_records(builder: tfds.core.DatasetBuilder, splits: Collection[str]) -> bool:
    return builder.data_path.exists() and set(splits) <= set(builder.info.splits)


def _backup_of(records: epath.Path) -> epath.Path:
    return records.parent / f".replaced-{records.name}"


@contextlib.contextmanager
def _lock(records: epath.Path) -> Iterator[None]:
    """Lets only one process at a time prepare the same records."""
    records.parent.mkdir(parents=True, exist_ok=True)
    with open(records.parent / ".preparing", "w") as handle:
        if lock(handle, wait=True):
            _clean_up_after_kill(records)
        yield


def _clean_up_after_kill(records: epath.Path) -> None:
    """Removes partial records of a process that was killed, and restores its backup."""
    for partial in records.parent.glob("incomplete.*"):
        partial.rmtree()
    if _backup_of(records).exists() and not records.exists():
        _backup_of(records).rename(records)


@contextlib.contextmanager
def _backed_up(records: epath.Path) -> Iterator[None]:
    """Moves old records away during preparation. Moves them back if no new ones were written."""
    if not records.exists():
        yield
        return
    backup = _backup_of(records)
    backup.rmtree(missing_ok=True)
    records.rename(backup)
    try:
        yield
    finally:
        if records.exists():
            backup.rmtree()
        else:
            backup.rename(records)


def _prepare(
    builder: tfds.core.DatasetBuilder,
    splits: Collection[str],
    manual_dir: str | None,
    skip_broken: bool,
) -> None:
    if isinstance(builder, FromFiles):
        builder.skip_broken = skip_broken
        builder.wanted = splits
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    )


def _check_records(builder: tfds.core.DatasetBuilder, splits: Collection[str]) -> None:
    """Raises a `ValueError` if records are incomplete, for example after an interrupted copy."""
    for split in (builder.info.splits[name] for name in splits):
        files = [epath.Path(path) for path in split.filepaths]
        size = sum(path.stat().length for path in files if path.exists())
        if size < split.num_bytes:
            raise ValueError(
                f"The prepared records in {builder.data_path} are damaged: {split.name} should "
                f"have at least {split.num_bytes} bytes and has {size}. Delete the folder to "
                "prepare them again."
            )


def _changes(
    builder: tfds.core.DatasetBuilder, splits: Collection[str], manual_dir: str | None
) -> str:
    """Says which files changed after the records were prepared; empty if none did."""
    if not isinstance(builder, FromFiles) or manual_dir is None:
        return ""
    then = builder.info.metadata.get("sources") or {}
    now = builder.fingerprints(epath.Path(manual_dir)) if then else {}
    found = [
        change
        for split in splits
        for change in sources.changes(then.get(split, {}), now.get(split, {}))
    ]
    return "; ".join(dict.fromkeys(found))


def _check_sources(
    builder: tfds.core.DatasetBuilder, splits: Collection[str], manual_dir: str | None
) -> None:
    """Raises a `ValueError` if the official files changed after the records were prepared."""
    changes = _changes(builder, splits, manual_dir)
    if changes:
        raise ValueError(
            f"The files of {builder.name} have changed since they were prepared: {changes}. Delete "
            f"the folder {builder.data_path} to prepare them again."
        )


def _is_outdated(
    builder: tfds.core.DatasetBuilder, splits: Collection[str], manual_dir: str | None
) -> bool:
    """Whether records must be prepared again because their files have changed."""
    prepares_again = getattr(builder, "prepares_changed_files", False)
    return prepares_again and bool(_changes(builder, splits, manual_dir))


def _report_left_out(builder: tfds.core.DatasetBuilder) -> None:
    """Prints a note if broken files or records were left out of the prepared records."""
    messages = (builder.info.metadata or {}).get("left_out") or []
    if messages:
        print(
            f"note: {builder.name} was prepared without {len(messages)} broken files or records, "
            f"such as: {messages[0]}",
            file=sys.stderr,
        )


@contextlib.contextmanager
def one_line_errors(name: str, prepared_dir: Any) -> Iterator[None]:
    """Turns errors of files and downloads during preparation into a `ValueError` of one line."""
    place = epath.Path(prepared_dir or tfds.core.constants.DATA_DIR) / name.partition("/")[0]
    try:
        yield
    except (json_format.ParseError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"The prepared records in {place} are damaged ({error}). Delete the folder to prepare "
            "them again."
        ) from None
    # Errors of the disk, the network, TensorFlow and tfds; tfds wraps some as RuntimeError.
    except (OSError, tf.errors.OpError, RuntimeError, AssertionError) as error:
        if isinstance(error, FileNotFoundError) and error.errno is None:
            raise  # The message already says which official files are missing.
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = textwrap.shorten(getattr(cause, "strerror", None) or str(cause), 300)
        raise ValueError(
            f"{name} could not be prepared in {place} ({type(cause).__name__}: {reason}). Nothing "
            "of it is kept; the same command starts afresh. If the folder cannot be written to, "
            "give another --prepared_dir (`prepared_dir`)."
        ) from None
