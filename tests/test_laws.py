"""The laws of the house: which wings there are, and who may import whom. Each law says what breaks it in a tree.

`test_the_house_keeps` holds the package to each; `test_a_law_can_be_broken` shows each law a tiny tree that breaks it.
"""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import camserve

PACKAGE = Path(camserve.__file__).parent

# From the ground up: {wing: the wings that its files may import}. errors.py and version.py may be imported by all.
FLOORS = [
    {"catalogue": "", "geometry": "", "system": ""},
    {
        "metrics": "catalogue geometry",
        "images": "system",
        "config": "catalogue",
        "render": "catalogue geometry system",
        "graph": "catalogue geometry",
        "findings": "catalogue geometry system",
        "notebook": "catalogue",
    },
    {
        "models": "catalogue geometry images system config graph",
        "methods": "catalogue graph",
        "explanation": "catalogue geometry images system config render metrics notebook",
        "datasets": "catalogue images system",
        "nets": "graph",
    },
    {"explain": "catalogue geometry images system config graph models methods explanation metrics"},
    {
        "evaluation": "catalogue geometry images system graph models methods explanation datasets findings render "
        "explain metrics",
    },
    {"model.py": "catalogue images config models explanation explain evaluation"},
    {
        "onboarding": "catalogue geometry images system config graph models methods explanation datasets explain "
        "model.py",
        "batch": "catalogue images system config datasets findings render explanation explain evaluation model.py",
        "agents": "catalogue images system config findings models explanation explain model.py",
        "web": "catalogue images system config render models explanation explain model.py",
        "tracking": "catalogue images explanation model.py",
    },
    {
        "cli": "catalogue images system config findings models explanation explain evaluation model.py onboarding "
        "agents batch web"
    },
]
WINGS = {wing: set(allowed.split()) for floor in FLOORS for wing, allowed in floor.items()}
ROOT = ("__init__.py", "__main__.py", "errors.py", "version.py", "model.py")
GROUND = ("errors.py", "version.py")
DOORS = {"__init__.py": {"explanation", "model.py"}, "__main__.py": {"cli"}}

# Documented imports: wings that give names of their files again. No other __init__ of a wing imports anything.
GIVEN_AGAIN = ("batch", "cli", "config", "evaluation", "explain", "explanation", "methods", "nets", "tracking")
TORCH_FREE = ("catalogue", "geometry", "images", "config", "datasets", "render", "findings", "explanation", "metrics")
LATE = ("web", "cli", "agents")  # load torch when they are asked for something, not before
OPENERS = ("images/decoding.py", "images/samples.py", "images/arrays/quick_jpeg.py")
HOMES = {
    "flask": "web/",
    "werkzeug": "web/",
    "gunicorn": "web/",
    "mcp": "agents/",
    "opentelemetry": "web/traces.py",
    "prometheus_client": "web/",
    "anywidget": "notebook/",
    "traitlets": "notebook/",
    "click": "cli/",
    "rich": "cli/ batch/progress.py",
    "openvino": "models/engines/ models/compiled/",
    "torchvision": "models/architectures/of_torchvision.py",
    "timm": "models/architectures/of_timm.py",
    "transformers": "models/architectures/",
    "huggingface_hub": "models/architectures/hub_cache.py",
    "onnxruntime": "models/onnx_export.py models/engines/onnxruntime_engine.py",
    "safetensors": "models/weights/checkpoints.py",
    "pyarrow": "findings/exports.py datasets/remote.py",
    "ray": "batch/ray_cluster.py",
    "cmap": "catalogue/colormaps.py",
    "isal": "images/png.py",
    "simplejpeg": "images/arrays/quick_jpeg.py",
    "pillow_heif": "images/heic.py",
    "pillow_jxl": "images/jpeg_xl.py",
    "tifffile": "images/rare_tiff.py",
    "imagecodecs": "images/rare_tiff.py",
    "pydicom": "images/dicom.py images/dicom_greys.py",
    "scipy": "metrics/of_scipy.py",
    "lightning": "tracking/lightning_callback.py",
    "wandb": "tracking/log_explanations.py",
    "mlflow": "tracking/log_explanations.py",
    "matplotlib": "evaluation/figures.py explanation/matplotlib_axes.py",
}
OF_METHODS = {"torch", "camserve", "typing", "collections", "dataclasses", "functools", "importlib", "math"}
OF_METHODS |= {"contextlib", "threading"}  # what a hook needs that only its own thread obeys

# Folders of tests that are no wings; and why datasets/ has none, see CONTRIBUTING.md.
TEST_FOLDERS = {"doors", "networks", "repository"}
LARGEST = 20


class Import(NamedTuple):
    """One import of one file. module: dotted, as far as it is a file here. typed: only for type checkers."""

    path: str
    line: int
    module: str
    typed: bool


class Tree:
    """The files of a package, and what each imports: paths are relative, "graph/cut.py"."""

    def __init__(self, package: Path) -> None:
        self.package = package
        self.sources = {p.relative_to(package).as_posix(): p.read_text() for p in sorted(package.rglob("*.py"))}
        self.asts = {path: ast.parse(text) for path, text in self.sources.items()}
        self.imports = [found for path in self.asts for found in self._imports(path)]

    def file(self, module: str) -> str | None:
        """The file of a dotted name of the package, None for what is not one."""
        path = "/".join(module.split(".")[1:])
        return next((name for name in (f"{path}.py", f"{path}/__init__.py".lstrip("/")) if name in self.sources), None)

    def _imports(self, path: str) -> Iterator[Import]:
        for node, typed in _nodes(self.asts[path]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(path, node.lineno, alias.name, typed)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    yield Import(path, node.lineno, whole if self.file(whole) else node.module, typed)
            elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
                text = node.args[0].values[0] if isinstance(node.args[0], ast.JoinedStr) else node.args[0]
                if isinstance(text, ast.Constant) and str(text.value).startswith("camserve."):
                    yield Import(path, node.lineno, str(text.value).rstrip("."), typed)

    def inner(self) -> Iterator[tuple[Import, str]]:
        """Imports of this package's own files, with the file that each means."""
        for found in self.imports:
            file = self.file(found.module) if found.module.split(".")[0] == "camserve" else None
            if file is not None and file != found.path:
                yield found, file

    def outer(self) -> Iterator[tuple[Import, str]]:
        """Imports of anything, with the name of the library."""
        for found in self.imports:
            yield found, found.module.split(".")[0]


def _nodes(tree: ast.AST, typed: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it is only for type checkers; inside functions too."""
    for node in ast.iter_child_nodes(tree):
        only = typed or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        yield node, only
        yield from _nodes(node, only)


def wing(path: str) -> str:
    """The wing of a file, "graph" of "graph/surgery/twin.py"; a file at the root is its own."""
    return path.split("/")[0]


# Each law: what breaks it, in words


def wings_import_what_the_table_allows(tree: Tree) -> list[str]:
    """Inside functions, for type checkers and by a name in a string as well."""
    broken = [f"{found} is no wing of the table" for found in sorted({wing(p) for p in tree.sources} - {*WINGS, *ROOT})]
    for found, file in tree.inner():
        mine, other = wing(found.path), wing(file)
        allowed = WINGS.get(mine, DOORS.get(mine, set()))
        if mine != other and other not in allowed and other not in GROUND and mine in {*WINGS, *ROOT}:
            broken.append(f"{found.path}:{found.line} imports {file}")
    return broken


def the_table_allows_no_more_than_is_used(tree: Tree) -> list[str]:
    used = {(wing(found.path), wing(file)) for found, file in tree.inner()}
    return [
        f"{mine} may import {other}, and does not"
        for mine, allowed in WINGS.items()
        for other in sorted(allowed)
        if (mine, other) not in used
    ]


def no_files_import_each_other(tree: Tree) -> list[str]:
    """Python runs a folder's __init__ before any of its files, so who imports one from outside imports that, too."""
    edges = defaultdict(set)
    for found, file in tree.inner():
        edges[found.path].add(file)
        folders = [folder.as_posix() for folder in Path(file).parents if folder.name]
        outer = {f"{folder}/__init__.py" for folder in folders if not found.path.startswith(f"{folder}/")}
        edges[found.path] |= outer & set(tree.sources)
    reached = {path: _reached(edges, path) for path in tree.sources}
    circles = {frozenset(other for other in reached[path] if path in reached[other]) for path in tree.sources}
    return [f"a circle: {', '.join(sorted(circle))}" for circle in circles if circle]


def _reached(edges: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    ahead = [start]
    while ahead:
        for other in edges.get(ahead.pop(), set()) - seen:
            seen.add(other)
            ahead.append(other)
    return seen


def few_files_at_the_root(tree: Tree) -> list[str]:
    return [f"{path} is at the root" for path in tree.sources if "/" not in path and path not in ROOT]


def folders_are_small(tree: Tree) -> list[str]:
    sizes = Counter(path.rpartition("/")[0] for path in tree.sources if not path.endswith("__init__.py"))
    return [f"{folder}/ has {size} files" for folder, size in sizes.items() if size > LARGEST]


def files_have_names_of_their_own(tree: Tree) -> list[str]:
    named = defaultdict(list)
    for path in tree.sources:
        named[path.rpartition("/")[2]].append(path)
    return [
        f"one name: {', '.join(paths)}" for name, paths in named.items() if len(paths) > 1 and name != "__init__.py"
    ]


def libraries_stay_at_home(tree: Tree) -> list[str]:
    return [
        f"{found.path}:{found.line} imports {library}"
        for found, library in tree.outer()
        if library in HOMES and not found.path.startswith(tuple(HOMES[library].split()))
    ]


def methods_import_torch_only(tree: Tree) -> list[str]:
    return [
        f"{found.path}:{found.line} imports {library}"
        for found, library in tree.outer()
        if wing(found.path) == "methods" and library not in OF_METHODS
    ]


def some_wings_import_no_torch(tree: Tree) -> list[str]:
    return [
        f"{found.path}:{found.line} imports torch"
        for found, library in tree.outer()
        if library == "torch" and wing(found.path) in TORCH_FREE and not found.typed
    ]


def some_wings_load_no_torch(tree: Tree) -> list[str]:
    """Each of these wings imported, all its files, in a process of its own."""
    names = {w: [p for p in tree.sources if wing(p) == w and not p.endswith("__init__.py")] for w in TORCH_FREE + LATE}
    broken = []
    for one, paths in names.items():
        modules = ", ".join("camserve." + path.removesuffix(".py").replace("/", ".") for path in paths)
        code = f"import {modules}, sys; print('torch' in sys.modules)" if paths else "print(False)"
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tree.package.parent)!r}); {code}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree.package.parent)
        if done.stdout.strip() != "False":
            broken.append(f"{one}/ loads torch {done.stderr}".strip())
    return broken


def images_are_opened_in_one_place(tree: Tree) -> list[str]:
    broken = []
    for path, parsed in tree.asts.items():
        for node in ast.walk(parsed) if path not in OPENERS else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "open":
                if ast.unparse(node.func.value).endswith("Image"):
                    broken.append(f"{path}:{node.lineno} opens an image")
            elif isinstance(node, ast.ImportFrom) and "ImagePlugin" in (node.module or ""):
                broken.append(f"{path}:{node.lineno} reads a format itself")
    return broken


def wings_say_what_they_are(tree: Tree) -> list[str]:
    """Each folder's __init__ begins with its law and has a line for each of its files; few of them import anything."""
    broken = []
    for folder in sorted({path.rpartition("/")[0] for path in tree.sources if "/" in path}):
        init = tree.asts.get(f"{folder}/__init__.py")
        said = (ast.get_docstring(init) or "") if init else ""
        if not said.split("\n")[0].endswith("."):
            broken.append(f"{folder}/__init__.py does not begin with its law")
        lines = {word for line in said.splitlines()[1:] for word in line.split()[:1]}
        there = {
            name + ("/" if below else "")
            for path in tree.sources
            if path.startswith(f"{folder}/")
            for name, below, _ in [path.removeprefix(f"{folder}/").partition("/")]
        } - {"__init__.py"}
        broken += [f"{folder}/__init__.py does not name {name}" for name in sorted(there - lines)]
        gone = {line for line in lines if line.endswith((".py", "/"))} - there
        broken += [f"{folder}/__init__.py names {name}, which is not there" for name in sorted(gone)]
        imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(init)) if init else False
        if imports and folder not in GIVEN_AGAIN:
            broken.append(f"{folder}/__init__.py imports something")
    return broken


def the_map_is_complete(tree: Tree) -> list[str]:
    """CONTRIBUTING.md has a row for each wing, and each row is the law in that wing's __init__."""
    page = (tree.package.parent / "CONTRIBUTING.md").read_text()
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    rows = {row[0].strip("`").removesuffix("/"): row[-1] for row in cells if row[0].startswith("`") and len(row) == 2}
    wings = {wing(path) for path in tree.sources if "/" in path}
    broken = [f"the map has no row for {one}/" for one in sorted(wings - set(rows))]
    broken += [f"the map has {one}, which is not there" for one in rows if one not in {*wings, *tree.sources}]
    for one in sorted(wings & set(rows)):
        init = tree.asts.get(f"{one}/__init__.py")
        law = ((ast.get_docstring(init) if init else None) or "").split("\n")[0]
        if law != rows[one]:
            broken.append(f"the map and {one}/__init__.py differ: {rows[one]!r}, {law!r}")
    return broken


def each_test_stands_in_a_wing(tree: Tree) -> list[str]:
    tests = tree.package.parent / "tests"
    found = [path.relative_to(tests).as_posix() for path in sorted(tests.rglob("test_*.py"))]
    names = Counter(path.rpartition("/")[2] for path in found)
    return [
        f"tests/{path} stands in no wing"
        for path in found
        if path != "test_laws.py" and path.split("/")[0] not in {*WINGS, *TEST_FOLDERS}
    ] + [f"two tests are called {name}" for name, count in names.items() if count > 1]


LAWS: dict[Callable[[Tree], list[str]], tuple[dict[str, str], str]] = {
    # law: (a tree that breaks it, what is to be said of it)
    wings_import_what_the_table_allows: (
        {"images/a.py": "def f():\n    import camserve.web.b", "web/b.py": ""},
        "images/a.py:2 imports web/b.py",
    ),
    the_table_allows_no_more_than_is_used: ({}, "config may import catalogue, and does not"),
    no_files_import_each_other: (
        {
            "graph/a.py": "if TYPE_CHECKING:\n    from camserve.graph.b import B",
            "graph/b.py": "def f():\n    from camserve.graph import a",
        },
        "a circle: graph/a.py, graph/b.py",
    ),
    few_files_at_the_root: ({"cut.py": ""}, "cut.py is at the root"),
    folders_are_small: ({f"graph/f{i}.py": "" for i in range(LARGEST + 1)}, f"graph/ has {LARGEST + 1} files"),
    files_have_names_of_their_own: ({"graph/a.py": "", "web/a.py": ""}, "one name: graph/a.py, web/a.py"),
    libraries_stay_at_home: ({"batch/a.py": "def f():\n    import click"}, "batch/a.py:2 imports click"),
    methods_import_torch_only: ({"methods/a.py": "import numpy as np"}, "methods/a.py:1 imports numpy"),
    some_wings_import_no_torch: ({"render/a.py": "def f():\n    from torch import nn"}, "render/a.py:2 imports torch"),
    some_wings_load_no_torch: (
        {"render/a.py": "import camserve.web.b", "web/b.py": "import torch", "../torch.py": ""},
        "render/ loads torch",
    ),
    images_are_opened_in_one_place: (
        {"web/a.py": "from PIL import Image\nImage.open('a.png')"},
        "web/a.py:2 opens an image",
    ),
    wings_say_what_they_are: (
        {"graph/__init__.py": '"""A law.\n\n    b.py  is b\n"""', "graph/a.py": "", "graph/b.py": ""},
        "graph/__init__.py does not name a.py",
    ),
    the_map_is_complete: (
        {"graph/__init__.py": '"""A law."""', "web/__init__.py": "", "../CONTRIBUTING.md": "| `graph/` | Another. |"},
        "the map has no row for web/",
    ),
    each_test_stands_in_a_wing: ({"../tests/nonesuch/test_a.py": ""}, "tests/nonesuch/test_a.py stands in no wing"),
}


@cache
def _house() -> Tree:
    return Tree(PACKAGE)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_house_keeps(law: Callable[[Tree], list[str]]) -> None:
    broken = law(_house())
    assert not broken, "\n".join(["", *broken])


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_a_law_can_be_broken(law: Callable[[Tree], list[str]], tmp_path: Path) -> None:
    files, expected = LAWS[law]
    for name, text in {"__init__.py": "", **files}.items():
        path = tmp_path / "camserve" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert expected in law(Tree(tmp_path / "camserve"))


def test_wings_import_what_lies_below_and_there_are_few_floors() -> None:
    floor = {wing: height for height, wings in enumerate(FLOORS) for wing in wings}
    for one, allowed in WINGS.items():
        assert all(floor[other] < floor[one] for other in allowed), one
    assert len(FLOORS) <= 8
    assert len(ROOT) <= 6


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
