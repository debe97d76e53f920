"""Measures error, size and speed of every export format of the pose network, in its own runtime.

    python -m benchmarks.export
    python -m benchmarks.export --run runs/lsp_box --threads 2

The error is the largest difference from Keras's outputs for some pictures, divided by the largest
output. Times are for one picture; all formats run in every round. Formats whose packages are not
installed are skipped and listed.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rich.table

from benchmarks import command_line, machine, timing, workers
from benchmarks.tables import console, threads_text
from examples.pose import models
from examples.pose.cli.errors import as_user_error
from examples.pose.files import output_paths
from examples.web.runtime import RuntimeMissingError

if TYPE_CHECKING:
    import keras

NATIVE = "saved_model"
INT8 = "litert int8"
PICTURES = 8


@dataclasses.dataclass(frozen=True)
class Result:
    """Error, size on disk, and seconds per picture in every round, of one format."""

    error: float
    bytes: int
    seconds: list[float]


def format_names() -> tuple[str, ...]:
    """Every format of `tf_boxconv.export`, and LiteRT with 8 bit integers."""
    from tf_boxconv.exporting import FORMATS

    return (*FORMATS, INT8)


def measure(
    run: str | None, image_size: int, width: int, rounds: int, threads: int
) -> tuple[dict[str, Result], dict[str, str]]:
    """Exports, compares and times one network. Runs in a worker.

    Returns:
        The results by format, and the reasons for formats that could not be run.
    """
    from benchmarks.export_runtimes import RUNTIMES

    network = _network(run, image_size, width)
    pictures = smooth_pictures(PICTURES, network.input_shape[1])
    expected = network(pictures).numpy()
    with tempfile.TemporaryDirectory() as folder:
        runs, sizes, missing = {}, {}, {}
        for name in format_names():
            try:
                path = _export(network, Path(folder), name, pictures)
                runs[name] = RUNTIMES[name.split()[0]](path, threads)
            except (ImportError, RuntimeMissingError) as error:
                missing[name] = str(error)
                continue
            sizes[name] = _size(path)
        errors = {
            name: float(np.abs(call(pictures) - expected).max() / np.abs(expected).max())
            for name, call in runs.items()
        }
        calls = {name: _one_picture(call, pictures[:1]) for name, call in runs.items()}
        seconds = timing.interleaved(calls, rounds, "export formats")
    found = {name: Result(errors[name], sizes[name], seconds[name]) for name in runs}
    return found, missing


def _network(run: str | None, image_size: int, width: int | None) -> keras.Model:
    if run:
        from examples.pose.training.run_folder import RunFolder

        return RunFolder(run).load_model()
    return models.inference_model(models.build(models.DEFAULT, image_size=image_size, width=width))


def smooth_pictures(count: int, size: int) -> np.ndarray:
    """Returns smooth random pictures, float32 `[count, size, size, 3]`, values 0 to 255."""
    import tensorflow as tf

    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 6, 3))
    pictures = tf.image.resize(coarse, (size, size), "bicubic")
    return np.clip(pictures.numpy(), 0, 255).astype(np.float32)


def _export(network: keras.Model, folder: Path, name: str, pictures: np.ndarray) -> Path:
    import tf_boxconv
    from tf_boxconv.exporting import FORMATS

    format = name.split()[0]
    path = folder / f"{name.replace(' ', '_')}{FORMATS[format].suffix or ''}"
    options = {"quantize": "int8", "representative_data": [pictures]} if name == INT8 else {}
    tf_boxconv.export(network, path, format, **options)
    return path


def _one_picture(call, picture: np.ndarray):
    call(picture)
    return getattr(call, "again", lambda: call(picture))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def table_of(results: dict[str, Result], threads: int) -> rich.table.Table:
    """Returns a table with one row per format."""
    table = rich.table.Table(title=f"pose network, one picture, {threads_text(threads)}")
    table.add_column("format")
    for name in ("largest error", "MB", "ms (quartiles)", "x saved_model"):
        table.add_column(name, justify="right")
    for name, result in results.items():
        speed = timing.ratio(result.seconds, results[NATIVE].seconds)
        table.add_row(
            name,
            f"{result.error:.1e}",
            f"{result.bytes / 1e6:.2f}",
            f"{timing.spread(np.array(result.seconds) * 1e3):.3g}",
            f"{speed:.2f}",
        )
    return table


def write_json(
    path: Path,
    description: dict[str, str],
    results: dict[str, Result],
    missing: dict,
    threads: int,
) -> None:
    """Writes all results and all samples in seconds."""
    content = {
        "threads": threads,
        "formats": {name: dataclasses.asdict(result) for name, result in results.items()},
        "missing": missing,
    }
    machine.write_report(path, description, content)


def main(argv: list[str] | None = None) -> None:
    """Measures in a new process and prints the table."""
    parser = command_line.make_parser("export", __doc__)
    add = parser.add_argument
    add("--run", help="run folder of a trained network (default: one with random weights)")
    add("--rounds", type=command_line.positive, default=9, help="rounds over all formats")
    add(
        "--threads",
        type=command_line.positive,
        default=workers.default_threads(),
        help="number of threads",
    )
    add(
        "--image_size",
        type=command_line.positive,
        default=96,
        help="without --run: pixels, a multiple of 16",
    )
    add(
        "--width",
        type=command_line.positive,
        default=32,
        help="without --run: channels at the top",
    )
    add("--output", type=command_line.new_file, help="a file for all samples (.json)")
    args = parser.parse_args(argv)
    if args.run and args.output:
        from examples.pose.inference import model_files

        read = model_files.model_inputs(Path(args.run))
        output_paths.check_outputs([("--output", args.output)], read)
    with as_user_error(ValueError):
        _network(args.run, args.image_size, args.width)
    description = command_line.print_machine()
    results, missing = workers.in_fresh_process(
        args.threads, measure, args.run, args.image_size, args.width, args.rounds, args.threads
    )
    console.print(table_of(results, args.threads))
    for name, reason in missing.items():
        console.print(f"not measured: {name}: {reason}", markup=False)
    if args.output:
        write_json(args.output, description, results, missing, args.threads)


if __name__ == "__main__":
    sys.exit(command_line.run(main))
