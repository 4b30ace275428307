"""A release can be made: the wheel is built, checked, installed where nothing else is, and run from another folder."""

import json
import re
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
from conftest import program

import camserve

ROOT = Path(camserve.__file__).parent.parent


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """release.py."""
    for package in ("build", "hatchling", "twine", "check_wheel_contents", "auditwheel", "cyclonedx_py"):
        pytest.importorskip(package, reason="what a release is made with comes with the extra dev")
    return program(ROOT / "release.py")


@pytest.fixture(scope="module")
def built(release: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    wheel, sdist = release.build(tmp_path_factory.mktemp("dist"))
    return release.portable(wheel), sdist


def test_it_is_built_whole_and_indexes_take_it(release: ModuleType, built: tuple[Path, Path]) -> None:
    wheel, sdist = built
    release.check(wheel, sdist)
    assert "-linux_" not in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "camserve").rglob("*.py")}
    assert own <= names
    shipped = {"camserve/shipped/config.toml", "camserve/shipped/photos/cat.jpg", "camserve/py.typed"}
    assert shipped | {"camserve/web/templates/page.html", "camserve/web/static/page.js"} <= names
    assert not [name for name in names if re.match(r"(tests|docs|benchmarks)/", name)]
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "hatch_build.py", "release.py", "CHANGELOG.md", "LICENSE", "mkdocs.yml"} <= inside


def test_the_wheel_alone_explains_a_photograph_from_another_folder(
    release: ModuleType, built: tuple[Path, Path], tmp_path: Path
) -> None:
    """Some 8 s, most of them for torch to be read and the network to be checked, as at anybody's first time."""
    inside = release.installed(built[0], tmp_path / "python", release.sys.executable, quick=True)
    extras = "import importlib.util as u; print([n for n in ('openvino', 'timm', 'mcp') if u.find_spec(n)])"
    assert release.run(inside, "-c", extras, PYTHONPATH="") == "[]\n"
    assert release.tried(inside, tmp_path / "desk").startswith("cat.jpg: Egyptian cat 0.38")
    with pytest.raises(SystemExit, match="another camserve"):
        release.tried(Path(release.sys.executable), tmp_path / "other")


def test_the_list_of_parts_names_what_is_installed(release: ModuleType, tmp_path: Path) -> None:
    python = release.run(release.sys.executable, "-m", "venv", "--without-pip", tmp_path / "python")
    assert python == ""
    site = next((tmp_path / "python").glob("lib/*/site-packages")) / "finch-1.2.dist-info"
    site.mkdir()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: finch\nVersion: 1.2\n")
    listed = json.loads(release.parts(tmp_path / "python" / "bin" / "python", tmp_path).read_text())
    assert listed["bomFormat"] == "CycloneDX"
    assert listed["metadata"]["component"]["name"] == "camserve"
    assert [(one["name"], one["version"]) for one in listed["components"]] == [("finch", "1.2")]


def test_one_version_stands_everywhere(release: ModuleType) -> None:
    found = list(release.versions())
    assert {version for _, version in found} == {camserve.__version__}
    assert {name for name, _ in found} == set(release.COPIES)


def test_no_other_file_names_the_version(release: ModuleType) -> None:
    texts = [*ROOT.glob("deploy/**/*"), *ROOT.glob("docs/*.md"), *ROOT.glob("*.*"), *ROOT.glob("camserve/**/*.py")]
    named = {
        path.relative_to(ROOT).as_posix()
        for path in texts
        if path.is_file()
        and path.suffix in ("", ".md", ".yaml", ".py", ".cff", ".toml", ".json")
        and re.search(rf"(?<![\d.]){re.escape(camserve.__version__)}(?![\d.])", path.read_text())
    }
    assert named - {"CHANGELOG.md"} <= set(release.COPIES)


def test_bump_writes_all_of_them(release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in release.COPIES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.setattr(release, "ROOT", tmp_path)
    release.bump("1.2.3rc4")
    assert {version for _, version in release.versions()} == {"1.2.3rc4"}
    with pytest.raises(SystemExit, match=r"'1\.2' is not a version; try one like 1\.2\.3"):
        release.bump("1.2")


def test_declared_pythons_begin_with_the_one_required(release: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert release.declared() == ["3.11", "3.12", "3.13", "3.14"]
    assert project["requires-python"] == f">={release.declared()[0]}"
