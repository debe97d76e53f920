"""Load test: sends valid and invalid requests to an exported pose model from many threads.

    python -m examples.serving.soak --run runs/demo --minutes 10 --threads 8

The command exports the run's model and loads it in a C++ program, by default with
`tensorflow::LoadSavedModel`, as TensorFlow ModelServer does. Valid requests, with pictures of many
sizes, must get the answers of the Keras model. Invalid requests must get an error. Memory must not
grow. Otherwise the exit status is 1.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rich.console

from examples.pose.cli import command_line, interruption
from examples.pose.cli.errors import UserError
from examples.pose.images.image_files import read_image
from examples.serving import native_loader

if TYPE_CHECKING:
    from examples.pose.inference.predictor import PosePredictor

# (height, width) of the generated pictures.
SIZES = ((96, 96), (480, 640), (1, 1), (37, 200), (720, 405), (256, 256), (3, 301), (1080, 1440))
# Allowed relative growth of memory, from a tenth of the duration to the end.
MAX_GROWTH = 0.05


def prepare(predictor: "PosePredictor", pictures: Sequence[np.ndarray], folder: Path) -> Path:
    """Exports a model and writes requests for it.

    Args:
        predictor: The predictor to export. Its answers are the expected ones.
        pictures: Pictures uint8 `[height, width, 3]` of any sizes.
        folder: Folder in which to write `model/1` and `requests`.

    Returns:
        The folder of the SavedModel.
    """
    from examples.pose.inference import exporter
    from examples.serving import request_files

    saved_model = folder / "model" / "1"
    exporter.export(predictor, saved_model)
    requests = dict(request_files.valid_requests(predictor, pictures))
    requests |= dict(request_files.invalid_requests(pictures[0]))
    request_files.write(folder / "requests", saved_model, requests)
    return saved_model


def soak(
    predictor: "PosePredictor",
    pictures: Sequence[np.ndarray],
    threads: int,
    seconds: float,
    api: str,
) -> dict:
    """Runs the load test.

    Args:
        predictor: The predictor to export. Its answers are the expected ones.
        pictures: Pictures uint8 `[height, width, 3]` of any sizes.
        threads: Number of sending threads.
        seconds: Duration.
        api: One of `native_loader.APIS`.

    Returns:
        The report of `native_loader.run`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        program = native_loader.build(folder / "build", [api])[api]
        saved_model = prepare(predictor, pictures, folder)
        return native_loader.run(program, saved_model, folder / "requests", threads, seconds)


def settled_memory(report: dict) -> float:
    """Returns the memory in MiB at a tenth of the duration, when memory pools have grown."""
    samples = report["memory_mib"]
    return samples[len(samples) // 10]


def passed(report: dict) -> bool:
    """Whether every request was handled correctly and memory did not grow."""
    growth = report["memory_mib"][-1] / settled_memory(report) - 1
    return not (report["wrongly_answered"] or report["wrongly_refused"]) and growth <= MAX_GROWTH


def table(report: dict) -> str:
    """Returns the report as a Markdown table."""
    memory = report["memory_mib"]
    rows = {
        "threads": str(report["threads"]),
        "seconds": f"{report['seconds']:.0f}",
        "requests": f"{report['requests']:,}",
        "valid requests, answered correctly": f"{report['answered']:,}",
        "invalid requests, refused (expected errors)": f"{report['refused']:,}",
        "valid requests refused (unexpected errors)": f"{report['wrongly_refused']:,}",
        "wrong answers": f"{report['wrongly_answered']:,}",
        "largest difference from Keras, divided by the answer's largest value": (
            f"{report['largest_difference']:.1e}"
        ),
        "answers, p50 / p99 ms": "{:.0f} / {:.0f}".format(*report["answer_ms"]),
        "errors, p50 / p99 ms": "{:.1f} / {:.1f}".format(*report["refusal_ms"]),
        "memory after the first round of requests, MiB": f"{memory[0]:.0f}",
        "memory after a tenth of the time, MiB": f"{settled_memory(report):.0f}",
        "memory at the end, MiB": f"{memory[-1]:.0f}",
        "peak memory, sampled every second, MiB": f"{max(memory):.0f}",
    }
    return "\n".join(
        ["| measure | value |", "| --- | ---: |", *[f"| {k} | {v} |" for k, v in rows.items()]]
    )


def _pictures(photos: str | None, count: int) -> list[np.ndarray]:
    from examples.serving import request_files

    generated = request_files.generated_pictures(SIZES)
    if photos is None:
        return generated
    suffixes = (".jpg", ".jpeg")
    paths = sorted(path for path in Path(photos).iterdir() if path.suffix.lower() in suffixes)
    if not paths:
        raise UserError(f"--photos {photos} contains no JPEG files.")
    return [read_image(path) for path in paths[:count]] + generated


def make_parser() -> argparse.ArgumentParser:
    """Makes the parser of `examples.serving.soak`."""
    parser = command_line.Parser(
        prog="python -m examples.serving.soak", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--run", required=True, help="run folder that holds the trained model")
    add(
        "--minutes",
        type=command_line.positive_number,
        default=10,
        help="duration",
    )
    add(
        "--threads",
        type=command_line.positive,
        default=8,
        help="number of sending threads",
    )
    add("--photos", help="folder of JPEG files to send in addition to generated pictures")
    add(
        "--count",
        type=command_line.positive,
        default=8,
        help="maximum number of photos",
    )
    add(
        "--api",
        choices=native_loader.APIS,
        default="saved_model",
        help="TensorFlow's interface to load the model with",
    )
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.serving.soak`."""
    arguments = make_parser().parse_args(argv)
    import tensorflow as tf

    from examples.pose.inference.predictor import load_run

    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "Nothing was measured, and no files were left."):
        pictures = _pictures(arguments.photos, arguments.count)
        # Without flip test, as in the figures of docs/serving.md.
        predictor = load_run(arguments.run, flip_test=False)
        report = soak(predictor, pictures, arguments.threads, 60 * arguments.minutes, arguments.api)
    console = rich.console.Console(highlight=False)
    console.print(table(report), markup=False, soft_wrap=True)
    for problem in report["problems"]:
        console.print(problem, markup=False, soft_wrap=True)
    if not passed(report):
        raise UserError("The soak test failed; see the table.")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
