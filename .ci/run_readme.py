"""Runs the commands of README.md in an empty clone, in the order in which a reader meets them.

    python3 .ci/run_readme.py FOLDER

Clones the repository into FOLDER and runs every ```bash block there in one shell. A ```python block
is run after all python blocks before it. The only thing that a reader brings along is photo.jpg.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PHOTO = "examples/pose/datasets/coco_keypoints/dummy_data/coco/train2017/000000000101.jpg"


def script(readme: str) -> str:
    """Returns the blocks of a page as one shell script that prints each command."""
    lines, python = ["set -e"], ""
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```$", readme, re.M | re.S):
        if language == "python":
            python += block
            # The blocks become a file, because an interactive one could not start processes.
            block = f"cat > readme_example.py <<'END_OF_BLOCK'\n{python}END_OF_BLOCK\n"
            block += "python readme_example.py\n"
        lines.append(f"set -x\n{block}{{ set +x; }} 2> /dev/null")
    return "\n".join(lines)


def main() -> int:
    """Clones, runs and returns the exit status of the script."""
    folder = Path(sys.argv[1])
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    shutil.copy(folder / PHOTO, folder / "photo.jpg")
    commands = script((folder / "README.md").read_text())
    # As in the Makefile: ccache needs the same path from pip's temporary folder to the sources.
    temporary = folder.resolve() / "build"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(["bash", "-c", commands], cwd=folder, env=environment, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
