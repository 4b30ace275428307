"""Every method of the registry has its tests, its words and its name at every door; one without them fails here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import camserve
from camserve.catalogue.methods import FAMILIES, METHODS, parse_methods
from camserve.cli import main
from camserve.config import load_settings
from camserve.web.app import create_app
from camserve.web.request_options import make_options
from camserve.web.service import Service

ROOT = Path(camserve.__file__).parent.parent
PAGE = (ROOT / "docs" / "methods.md").read_text()
WALK = """
import pytest, sys
from conftest import proved

class Walk:
    def pytest_collection_modifyitems(self, items):
        for kind in ("exact", "oracle"):
            print("WALK", kind, *sorted({name for item in items for name in proved(item, kind)}))

options = ["--collect-only", "-p", "no:cacheprovider", "-m", "exact or oracle"]
sys.exit(pytest.main([*options, sys.argv[1]], [Walk()]))
"""


@pytest.fixture(scope="module")
def proofs() -> dict[str, list[str]]:
    """{"exact": methods, "oracle": methods} of the tests that pytest itself collects."""
    tests = ROOT / "tests"
    run = subprocess.run(
        [sys.executable, "-c", WALK, str(tests)], capture_output=True, text=True, cwd=tests, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    lines = [line.split() for line in run.stdout.splitlines() if line.startswith("WALK ")]
    return {kind: names for _, kind, *names in lines}


@pytest.mark.parametrize("kind", ["exact", "oracle"])
def test_every_method_has_a_test_of_exact_numbers_and_an_oracle(proofs: dict[str, list[str]], kind: str) -> None:
    assert proofs[kind] == sorted(METHODS)


def test_every_method_is_documented_in_its_family() -> None:
    sections = dict(re.findall(r"^### ([^\n]+)\n(.*?)(?=^##+ [A-Z]|\Z)", PAGE, re.DOTALL | re.MULTILINE))
    for family, members in FAMILIES.items():
        for method in members:
            assert f"</a>{method.title} `{method.name}`\n" in sections[family]
            for text in (method.note.formula, method.note.use, method.note.fails, str(method.cost), method.source):
                assert text
                assert text in sections[family]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_s_docstring_has_its_formula_and_source(name: str) -> None:
    from importlib import import_module

    module, function = METHODS[name].function.split(".")
    said = " ".join((getattr(import_module(f"camserve.methods.{module}"), function).__doc__ or "").split())
    assert " = " in said
    author = METHODS[name].source.split()[0].rstrip(",")
    assert name == "random" or author in said


def test_every_method_has_its_name_on_the_command_line() -> None:
    listed = json.loads(CliRunner().invoke(main, ["methods", "--json"]).stdout)
    assert [one["name"] for one in listed] == list(METHODS)
    for name in METHODS:
        assert parse_methods([name]) == (name,)
        said = CliRunner().invoke(main, ["methods", name]).stdout
        assert said.startswith(f"{name}: {METHODS[name].title}")
        assert METHODS[name].note.fails in said


@pytest.fixture(scope="module")
def service() -> Service:
    return Service(load_settings(environ={}))


def test_every_method_has_its_name_over_http_and_on_the_page(service: Service) -> None:
    client = create_app(service=service).test_client()
    listed = client.get("/api/v1/methods").get_json()["methods"]
    assert [one["name"] for one in listed] == ["auto", *METHODS]
    assert [one["formula"] for one in listed[1:]] == [method.note.formula for method in METHODS.values()]
    page = client.get("/", headers={"Accept": "text/html"}).text
    for name in METHODS:
        assert make_options({"method": name}).model_dump()["method"] == name
        assert f'<option value="{name}"' in page


@pytest.mark.parametrize("name", [method.name for method in METHODS.values() if not method.of_class])
def test_methods_that_do_not_look_at_the_class_say_so(name: str) -> None:
    assert re.search("class|noise", METHODS[name].summary + METHODS[name].note.fails)


def test_a_mark_alone_is_no_proof(tmp_path: Path) -> None:
    """The walk believes marks, because conftest.py does not."""
    test = tmp_path / "test_marked.py"
    test.write_text('import pytest\n\n\n@pytest.mark.exact("cam")\ndef test_nothing() -> None:\n    pass\n')
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "conftest",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
    ]
    run = subprocess.run([*command, test], capture_output=True, text=True, cwd=ROOT / "tests", check=False)
    assert "marked as a proof of {'cam'}, which it does not run" in run.stdout
