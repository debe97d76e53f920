"""Sends an exported pose model right and wrong requests from many threads, for minutes.

    python -m examples.serving.soak --run runs/demo --minutes 10 --threads 8

Exports the run's model and loads it in a C++ program by `tensorflow::LoadSavedModel`, as TensorFlow
ModelServer does. Right requests, of pictures of many sizes, must get the Keras model's answers;
malformed ones must get an error; and memory must not grow. The exit status says whether it was so.
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

# (height, width) of the generated pictures that are sent.
SIZES = ((96, 96), (480, 640), (1, 1), (37, 200), (720, 405), (256, 256), (3, 301), (1080, 1440))
# Memory after a tenth of the time against memory at the end: what it may differ by.
GROWTH = 0.05


def prepare(predictor: "PosePredictor", pictures: Sequence[np.ndarray], folder: Path) -> Path:
    """Exports a model and writes requests for it.

    Args:
        predictor: what to export; its answers are the right ones.
        pictures: uint8 `[height, width, 3]`, of any sizes.
        folder: gets the folders `model/1` and `requests`.

    Returns:
        The SavedModel's folder.
    """
    from examples.pose.inference import exporter
    from examples.serving import request_files

    saved_model = folder / "model" / "1"
    exporter.export(predictor, saved_model)
    requests = dict(request_files.right_requests(predictor, pictures))
    requests |= dict(request_files.wrong_requests(pictures[0]))
    request_files.write(folder / "requests", saved_model, requests)
    return saved_model


def soak(
    predictor: "PosePredictor",
    pictures: Sequence[np.ndarray],
    threads: int,
    seconds: float,
    api: str,
) -> dict:
    """Runs the whole test and returns the loader's report, as of `native_loader.run`."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        program = native_loader.build(folder / "build", [api])[api]
        saved_model = prepare(predictor, pictures, folder)
        return native_loader.run(program, saved_model, folder / "requests", threads, seconds)


def settled_memory(report: dict) -> float:
    """Mebibytes after a tenth of the time, when every pool has its size."""
    samples = report["memory_mib"]
    return samples[len(samples) // 10]


def passed(report: dict) -> bool:
    """Whether every request got what it should and memory stayed."""
    growth = report["memory_mib"][-1] / settled_memory(report) - 1
    return not (report["wrongly_answered"] or report["wrongly_refused"]) and growth <= GROWTH


def table(report: dict) -> str:
    """The report as a table in Markdown."""
    memory = report["memory_mib"]
    rows = {
        "threads": str(report["threads"]),
        "seconds": f"{report['seconds']:.0f}",
        "requests": f"{report['requests']:,}",
        "right requests, rightly answered": f"{report['answered']:,}",
        "wrong requests, refused (expected errors)": f"{report['refused']:,}",
        "right requests refused (unexpected errors)": f"{report['wrongly_refused']:,}",
        "wrong answers": f"{report['wrongly_answered']:,}",
        "largest difference from Keras, of an answer's largest value": (
            f"{report['largest_difference']:.1e}"
        ),
        "answers, p50 / p99 ms": "{:.0f} / {:.0f}".format(*report["answer_ms"]),
        "errors, p50 / p99 ms": "{:.1f} / {:.1f}".format(*report["refusal_ms"]),
        "memory after the first round of requests, MiB": f"{memory[0]:.0f}",
        "memory after a tenth of the time, MiB": f"{settled_memory(report):.0f}",
        "memory at the end, MiB": f"{memory[-1]:.0f}",
        "most memory, sampled each second, MiB": f"{max(memory):.0f}",
    }
    return "\n".join(["| | |", "| --- | ---: |", *[f"| {k} | {v} |" for k, v in rows.items()]])


def _pictures(photos: str | None, count: int) -> list[np.ndarray]:
    from examples.serving import request_files

    generated = request_files.generated_pictures(SIZES)
    if photos is None:
        return generated
    paths = sorted(path for path in Path(photos).iterdir() if path.suffix.lower() == ".jpg")
    return [read_image(path) for path in paths[:count]] + generated


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = command_line.Parser(
        prog="python -m examples.serving.soak", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("--run", required=True, help="run folder that holds the trained model")
    add(
        "--minutes",
        type=command_line.positive_number,
        default=10,
        help="for how long",
    )
    add(
        "--threads",
        type=command_line.positive,
        default=8,
        help="how many send at once",
    )
    add("--photos", help="folder of .jpg files to send besides generated pictures")
    add(
        "--count",
        type=command_line.positive,
        default=8,
        help="how many of them",
    )
    add(
        "--api",
        choices=native_loader.APIS,
        default="saved_model",
        help="what sends the pictures: TensorFlow's interface in C++ or in C",
    )
    return parser


def main(argv=None) -> None:
    """The command `python -m examples.serving.soak`."""
    arguments = make_parser().parse_args(argv)
    import tensorflow as tf

    from examples.pose.inference.predictor import load_run

    tf.get_logger().setLevel("ERROR")
    with interruption.explain_stop(lambda: "Nothing was measured, and nothing is left."):
        pictures = _pictures(arguments.photos, arguments.count)
        # One pass of the network a picture: the figures in docs/serving.md are of that.
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
