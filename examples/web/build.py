"""Builds the page with a trained pose network in it.

    python -m examples.web.build --run runs/demo --output runs/demo/web

Open `index.html` in a browser: no server is needed. Browsers let a page from a file read no other
file but scripts, so the network is put into one. TensorFlow.js comes from its npm package.
"""

import argparse
import base64
import json
import shutil
import sys
import tempfile
from pathlib import Path

import tf_boxconv
from examples.pose.datasets.pose_features import Skeleton
from examples.pose.model_files import find_model
from examples.pose.run_folder import RunFolder, RunFolderError
from examples.web.runtime import RuntimeMissingError, tfjs_runtime
from tf_boxconv import description
from tf_boxconv.exporting import output as outputs

PAGE_FILES = ("index.html", "page.css", "pose.js", "draw.js", "page.js")
MADE_FILES = ("model.js", "tf.min.js")
_SOURCES = Path(__file__).parent


def build(run: RunFolder, output, overwrite: bool = False) -> Path:
    """Writes the page and returns the path of its `index.html`.

    Args:
        run: Where the trained network is.
        output: Folder to write, whole or not at all.
        overwrite: Replaces a page that is there.

    Raises:
        FileExistsError: There is something else than an earlier page, or one without `overwrite`.
    """
    _require_page(Path(output))
    output = outputs.checked(output, None, overwrite)
    runtime = tfjs_runtime()
    script = "const POSE = " + json.dumps(_content(run)) + ";\n"
    with outputs.whole(output, overwrite) as folder:
        folder.mkdir()
        for name in PAGE_FILES:
            shutil.copy(_SOURCES / name, folder)
        shutil.copy(runtime, folder)
        (folder / "model.js").write_text(script)
    return output / PAGE_FILES[0]


def _require_page(output: Path) -> None:
    """Refuses a folder that holds anything but the files of an earlier page."""
    if output.is_dir():
        foreign = {path.name for path in output.iterdir()} - {*PAGE_FILES, *MADE_FILES}
        if foreign:
            raise FileExistsError(
                f"{output} holds {min(foreign)}, which is no part of a page: it is not replaced."
            )


def _content(run: RunFolder) -> dict:
    """All that the page's scripts need to know of a network."""
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
    """The command `python -m examples.web.build`."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.web.build",
        description="Build a page that finds poses in the visitor's pictures, with the flip test "
        "and the decoding that predict and export have by default.",
    )
    parser.add_argument("--run", required=True, help="folder that examples.pose.train wrote")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    arguments = parser.parse_args(argv)
    try:
        run = find_model(arguments.run)
        page = build(RunFolder(run), arguments.output, arguments.overwrite)
    except (RunFolderError, RuntimeMissingError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"Open {page.as_uri()} in a browser.")


if __name__ == "__main__":
    main()
