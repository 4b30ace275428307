"""The laws of the house: who may import what. Each fails when it is broken."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import camserve

PACKAGE = Path(camserve.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level packages a file imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name == "methods"], ids=relative)
def test_methods_import_torch_only(path: Path) -> None:
    allowed = {"torch", "camserve", "typing", "collections", "dataclasses", "enum", "functools", "importlib", "math"}
    allowed |= {"contextlib", "threading"}  # what a hook needs that only its own thread obeys
    assert imports(path) <= allowed


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_each_library_has_its_place(path: Path) -> None:
    found, name = imports(path), relative(path)
    if not name.startswith("web/"):
        assert not found & {"flask", "werkzeug", "gunicorn"}
    if not name.startswith("cli/"):
        assert "click" not in found
        assert name == "batch/progress.py" or "rich" not in found
    if not name.startswith("engines/"):
        assert "openvino" not in found
    homes = {
        "torchvision": "architectures/of_torchvision.py",
        "timm": "architectures/of_timm.py",
        "onnxruntime": "export.py",
        "pyarrow": "batch/exports.py batch/remote.py",
        "ray": "cluster.py",
        "safetensors": "checkpoints.py",
    }
    assert all(name in home.split() for library, home in homes.items() if library in found)


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_images_are_opened_where_they_are_decoded(path: Path) -> None:
    if relative(path) in ("decoding.py", "samples.py"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = ast.unparse(node.func.value)
            assert not (node.func.attr == "open" and owner.endswith("Image")), f"{relative(path)} opens an image"
        if isinstance(node, ast.ImportFrom) and node.module:
            assert "ImagePlugin" not in node.module, f"{relative(path)} reads a format itself"


def test_importing_camserve_is_cheap() -> None:
    code = "import sys, camserve; print(sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True)
    for heavy in ("torch", "numpy", "PIL", "pydantic", "flask", "click", "rich", "cmap"):
        assert f"'{heavy}'" not in loaded


def test_the_public_names_are_what_is_promised() -> None:
    assert sorted(camserve.__all__) == ["CamserveError", "Explanation", "Model", "__version__", "load"]
    for name in camserve.__all__:
        assert getattr(camserve, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        camserve.nonesuch  # noqa: B018


def test_every_error_is_in_the_tree_at_the_top_of_its_file() -> None:
    from camserve import errors

    assert errors.__doc__ is not None
    for name, error in vars(errors).items():
        if isinstance(error, type) and issubclass(error, errors.CamserveError):
            assert f"{name} " in errors.__doc__ or name == "CamserveError"
            line = next((line for line in errors.__doc__.splitlines() if f"─ {name} " in line), None)
            assert line is None or str(error.status) in line


def test_the_changelog_s_top_version_is_the_package_s() -> None:
    changelog = PACKAGE.parent / "CHANGELOG.md"
    top = next(line for line in changelog.read_text().splitlines() if line.startswith("## "))
    assert top == f"## {camserve.__version__}"
