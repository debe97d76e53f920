"""Builds a page that contains a trained pose network.

    python -m examples.web.build --output page

Open `index.html` in a browser; no server is needed. Browsers let a page that is opened from a file
load scripts but no other files, so the network is stored in a script. TensorFlow.js comes from its
npm package.
"""

import base64
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from examples.pose.cli import command_line, interruption
from examples.pose.cli.errors import as_user_error
from examples.pose.datasets.skeletons import Skeleton
from examples.web.runtime import RUNTIME_FILE, tfjs_runtime

if TYPE_CHECKING:
    from examples.pose.training.run_folder import RunFolder

# The script with the network, and how its text begins.
_MODEL_FILE, _MODEL_START = "model.js", "const POSE = "
PAGE_FILES = ("index.html", "page.css", "pose.js", "draw.js", "page.js")
_SOURCES = Path(__file__).parent


def build(run: "RunFolder", output, overwrite: bool = False) -> Path:
    """Writes the page and returns the path of its `index.html`.

    Args:
        run: Run folder of the trained network.
        output: Folder to write. It is written completely or not at all.
        overwrite: Whether to replace a page that this function wrote earlier.

    Raises:
        FileExistsError: `output` exists and may not be replaced.
        OSError: `output` cannot be written.
        ValueError: `output` is not on this machine, or the network cannot be exported.
    """
    from tf_boxconv.exporting import output as outputs

    kind = outputs.Kind(
        "a page that this command wrote",
        _own_files,
        argument="--output",
        overwrite="--overwrite",
    )
    path = outputs.resolved_destination(output, kind, overwrite)
    runtime = tfjs_runtime()
    script = _MODEL_START + json.dumps(_content(run)) + ";\n"
    with outputs.atomic(
        path, lambda: outputs.resolved_destination(output, kind, overwrite)
    ) as folder:
        folder.mkdir()
        for name in PAGE_FILES:
            shutil.copy(_SOURCES / name, folder)
        shutil.copy(runtime, folder)
        (folder / _MODEL_FILE).write_text(script)
    return path / PAGE_FILES[0]


def _own_files(folder: Path) -> set[str]:
    """Returns the names of a page's files, or an empty set if the folder contains no page."""
    try:
        with open(folder / _MODEL_FILE, encoding="utf-8") as script:
            start = script.read(len(_MODEL_START))
    except (OSError, ValueError):
        return set()
    return {*PAGE_FILES, _MODEL_FILE, RUNTIME_FILE} if start == _MODEL_START else set()


def _content(run: "RunFolder") -> dict:
    """Returns the data of the page's scripts: the network, its skeleton and its boxes."""
    import tf_boxconv
    from tf_boxconv import description

    model = run.load_model()
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / "tfjs"
        tf_boxconv.export(model, exported, "tfjs")
        graph = json.loads((exported / "model.json").read_text())
        shards = [name for group in graph["weightsManifest"] for name in group["paths"]]
        weights = b"".join((exported / name).read_bytes() for name in shards)
    return {
        "image_size": run.config["image_size"],
        "skeleton": run.config["skeleton"],
        "flip_order": Skeleton.from_metadata(run.config["skeleton"]).flip_order,
        "layers": description.describe(model)["layers"],
        "model": graph,
        "weights": base64.b64encode(weights).decode(),
    }


def main(argv=None) -> None:
    """Runs the command `python -m examples.web.build`."""
    parser = command_line.Parser(
        prog="python -m examples.web.build",
        description="Build a page that finds poses in the visitor's pictures, with flip test and "
        "with the default decoding of predict and export.",
    )
    parser.add_argument(
        "--run",
        type=command_line.name,
        help="folder that examples.pose.train wrote (default: the network of predict)",
    )
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier page")
    arguments = parser.parse_args(argv)
    from examples.pose.inference import model_files

    with interruption.explain_stop(lambda: "No page was written."):
        model_files.require_tensorflow_backend()
        run = model_files.find_run(arguments.run or model_files.PRETRAINED)
        with as_user_error(ValueError):
            page = build(run, arguments.output, arguments.overwrite)
    print(f"Open {page.as_uri()} in a browser.")


if __name__ == "__main__":
    sys.exit(command_line.run(main))
