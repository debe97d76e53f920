"""Checks the files of a release: versions, date, licences and contents.

    python3 .ci/check_release.py DIST

DIST contains the sdist and the wheel. Needs no packages.
"""

import ast
import email.parser
import re
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LICENCES = {"LICENSE", "THIRD_PARTY_NOTICES.md"}
MAX_WHEEL_BYTES = 15_000_000


def package_version() -> str:
    """Returns `__version__` of tf_boxconv/version.py, the one place where the version is set."""
    text = (ROOT / "tf_boxconv/version.py").read_text()
    return ast.literal_eval(re.search(r"__version__ = (.*)", text)[1])


def problems_of_documents(version: str) -> list[str]:
    """Checks that the changelog and the citation describe this version."""
    problems = []
    changelog = (ROOT / "CHANGELOG.md").read_text()
    dates = dict(re.findall(r"^## ([0-9.]+\S*) \((.*)\)$", changelog, re.MULTILINE))
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", dates.get(version, "")):
        problems.append(f"CHANGELOG.md has no dated section for {version}, `## {version} (DATE)`")
    if f"\nversion: {version}\n" not in (ROOT / "CITATION.cff").read_text():
        problems.append(f"CITATION.cff is not for {version}")
    return problems


def problems_of_sdist(sdist: Path, version: str) -> list[str]:
    """Checks the name and the contents of the sdist."""
    problems = []
    folder = f"tf_boxconv-{version}"
    if sdist.name != f"{folder}.tar.gz":
        problems.append(f"{sdist.name} is not {folder}.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.removeprefix(f"{folder}/") for name in archive.getnames()}
    needed = {*LICENCES, "setup.py", "custom_ops/CMakeLists.txt", "tf_boxconv/__init__.py"}
    problems += [f"{sdist.name} lacks {name}" for name in sorted(needed - names)]
    built = [name for name in names if name.endswith(".so")]
    problems += [f"{sdist.name} contains {name}, which is built" for name in sorted(built)]
    return problems


def problems_of_wheel(wheel: Path, version: str) -> list[str]:
    """Checks the name, the size, the libraries and the licences of the wheel."""
    problems = []
    if not re.fullmatch(rf"tf_boxconv-{version}-py3-none-manylinux_\d+_\d+_\w+\.whl", wheel.name):
        problems.append(f"{wheel.name} is not for this version and all Pythons on manylinux")
    if wheel.stat().st_size > MAX_WHEEL_BYTES:
        problems.append(f"{wheel.name} has more than {MAX_WHEEL_BYTES} bytes")
    information = f"tf_boxconv-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = email.parser.Parser().parsestr(archive.read(f"{information}/METADATA").decode())
    licences = {f"{information}/licenses/{name}" for name in LICENCES}
    problems += [f"{wheel.name} lacks {name}" for name in sorted(licences - names)]
    cores = [name for name in names if name.endswith("libtf_boxconv_core.so")]
    if cores != ["tf_boxconv/lib/libtf_boxconv_core.so"]:
        problems.append(f"{wheel.name} contains not one core library but {cores}")
    for requirement in metadata.get_all("Requires-Dist"):
        for minor in supported_minors(requirement):
            library = f"tf_boxconv/lib/tensorflow_{minor}/libtf_boxconv_ops.so"
            if library not in names:
                problems.append(f"{wheel.name} is for {requirement} but lacks {library}")
    return problems


def supported_minors(requirement: str) -> list[str]:
    """Returns the minor versions that the requirement of the extra `tensorflow` allows."""
    found = re.match(r"tensorflow(?=.*>=2\.(\d+))(?=.*<2\.(\d+)).*extra", requirement)
    return [f"2.{minor}" for minor in range(int(found[1]), int(found[2]))] if found else []


def main() -> int:
    """Prints what is wrong; returns the number of problems."""
    dist, version = Path(sys.argv[1]), package_version()
    problems = problems_of_documents(version)
    for check, pattern in ((problems_of_sdist, "*.tar.gz"), (problems_of_wheel, "*.whl")):
        files = list(dist.glob(pattern))
        if len(files) != 1:
            problems.append(f"{dist} has {len(files)} files {pattern}, not one")
        for file in files:
            problems += check(file, version)
    for problem in problems:
        print(problem)
    print(f"tf_boxconv {version}: {len(problems)} problems")
    return len(problems)


if __name__ == "__main__":
    sys.exit(main())
