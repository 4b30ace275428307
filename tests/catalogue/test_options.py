"""One list of options: what is declared there is at every door, in its range, and nowhere else."""

import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import picture

import camserve
from camserve.batch import Options
from camserve.batch.earlier_run import check_same
from camserve.batch.plan import Plan
from camserve.catalogue import option_metadata as about
from camserve.catalogue import options
from camserve.cli import main
from camserve.errors import OptionError, UnknownName
from camserve.web.request_options import make_options, parse_options

ROOT = Path(camserve.__file__).parent.parent
KINDS = (options.Targeted, options.ExplainOptions, options.OverlayOptions)

# Run where no door has been imported yet: says at which doors two more options are, and what became of their values.
ONE_MORE = f"""
import inspect, json, runpy
from dataclasses import asdict, dataclass
from camserve.catalogue import options
from camserve.catalogue.option_metadata import option

@dataclass(frozen=True, kw_only=True)
class Explain(options.ExplainOptions):
    patience: float | None = option(None, "how long to look", float, least=0, most=9, unit="seconds")

@dataclass(frozen=True, kw_only=True)
class Overlay(options.OverlayOptions):
    frame: bool = option(False, "draw a frame", bool)

options.ExplainOptions, options.OverlayOptions = Explain, Overlay

from click.testing import CliRunner
import camserve
from camserve.batch import Options as BatchOptions
from camserve.cli import main, flags as cli_options
from camserve.config import load_settings
from camserve.web.app import create_app
from camserve.web.request_options import Options, parse_options
from camserve.web.service import Service

def helped(command):
    return CliRunner().invoke(main, [command, "--help"]).output

def given(*arguments):
    found = []
    explaining = cli_options.explaining(lambda **asked: found.append(asked["asked"]))
    import click
    CliRunner().invoke(click.command()(explaining), arguments, catch_exceptions=False)
    return found[0]

app = create_app(service=Service(load_settings(environ={{}})))
described = app.test_client().get("/openapi.json").get_json()
query = described["paths"]["/api/v1/explain"]["post"]["parameters"]
pages = runpy.run_path({str(ROOT / "docs" / "generate.py")!r})["PARTS"]
asked = parse_options([("patience", "2.5"), ("frame", "on")])
line = given("--patience", "2.5", "--frame")
facts = BatchOptions(how=line.how, look=line.look).facts()
print(json.dumps({{
    "explain": "--patience FLOAT" in helped("explain") and "--frame" in helped("explain"),
    "batch": "How long to look (0 to 9)." in helped("batch") and "Draw a frame." in helped("batch"),
    "command line": [line.how.patience, line.look.frame],
    "request": [asked.question().patience, asked.drawing(0.5).frame],
    "query": [one for one in query if one["name"] in ("patience", "frame")],
    "json": [described["components"]["schemas"]["Options"]["properties"][name] for name in ("patience", "frame")],
    "python": "patience" in inspect.signature(camserve.Model.explain).parameters,
    "overlay": "frame" in inspect.signature(camserve.Explanation.overlay).parameters,
    "batch facts": [facts["patience"], facts["look"]["frame"]],
    "keys": len({{parse_options(pairs).question() for pairs in ([], [("patience", "1")], [("patience", "2")])}}),
    "docs": ["| patience |" in pages["options explain"](), "| frame |" in pages["options overlay"](),
             all(f"| {{name}} |" in pages["options request"]() for name in ("patience", "frame")),
             all(f"--{{name}}" in pages["help explain"]() for name in ("patience", "frame"))],
}}))
"""


def test_an_option_added_to_the_list_is_at_every_door() -> None:
    said = subprocess.run([sys.executable, "-c", ONE_MORE], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    patience, frame = found.pop("query")
    assert (patience["description"], frame["description"]) == ("How long to look (0 to 9).", "Draw a frame.")
    assert (patience["schema"]["anyOf"][0]["maximum"], frame["schema"]["type"]) == (9, "boolean")
    assert [one["description"] for one in found.pop("json")] == ["How long to look (0 to 9).", "Draw a frame."]
    assert found == {
        "explain": True, "batch": True, "command line": [2.5, True], "request": [2.5, True], "python": True,
        "overlay": True, "batch facts": [2.5, True], "keys": 3, "docs": [True] * 4,
    }  # fmt: skip


def names_in_docs(page: str, part: str) -> list[str]:
    """The first column of a generated table."""
    text = (ROOT / "docs" / page).read_text().split(f"<!-- generated: {part} -->")[1].split("<!-- end -->")[0]
    return [line.split("|")[1].strip() for line in text.splitlines()[3:]]


def test_the_keywords_of_python_are_those_of_its_page_in_that_order() -> None:
    explain, overlay = (
        list(inspect.signature(method).parameters) for method in (camserve.Model.explain, camserve.Explanation.overlay)
    )
    assert explain == ["self", "image", *names_in_docs("python.md", "options explain"), "progress"]
    assert overlay == ["self", *names_in_docs("python.md", "options overlay")]
    keywords = list(inspect.signature(camserve.Model.explain).parameters.values())[2:]
    keywords += list(inspect.signature(camserve.Explanation.overlay).parameters.values())[1:]
    assert {one.kind for one in keywords} == {inspect.Parameter.KEYWORD_ONLY}


def test_keywords_and_their_defaults_are_as_they_were() -> None:
    assert {name: default for kind in KINDS for name, (_, default) in about.about(kind).items()} == {
        "target": None, "method": None, "layer": None, "output": None, "size": None, "output_stride": None,
        "sharp": None, "trust": False, "quantity": None, "expected": None, "labels": None, "alpha": None,
        "colormap": None, "contour": None, "boxes": None, "legend": False, "signed": False, "smooth": None,
        "min_side": None, "grey": False,
        "scale": None,
    }  # fmt: skip


def limits() -> list[tuple[str, float]]:
    """Of every option that has a range, numbers just outside it."""
    found = []
    for kind in KINDS:
        for name, (one, _) in about.about(kind).items():
            if one.above is not None:
                found += [(name, one.above), (name, one.above - 1)]
            found += [(name, one.least - 1)] if one.least is not None else []
            found += [(name, one.most + 1)] if one.most is not None else []
    return found


@pytest.mark.parametrize(("name", "value"), limits())
def test_ranges_hold_at_every_door(name: str, value: float, tmp_path: Path) -> None:
    options: dict[str, Any] = {name: value}
    kind = next(kind for kind in KINDS if name in about.about(kind))
    with pytest.raises(OptionError, match=rf"{name} .*{value:g}"):
        kind(**options)
    with pytest.raises(OptionError, match=f"{name} '{value:g}': should be "):
        parse_options([(name, f"{value:g}")])
    with pytest.raises(OptionError, match=f"{name} {value:g}.*: should be "):
        make_options({name: value})
    picture(1).save(tmp_path / "one.png")
    image, out, flag = str(tmp_path / "one.png"), str(tmp_path / "out"), f"--{name.replace('_', '-')}={value:g}"
    for command in (["explain", image, "-o", out], ["batch", str(tmp_path), out]):
        result = CliRunner().invoke(main, [*command, flag])
        assert result.exit_code == 2
        assert name in result.stderr and f"{value:g}" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "5", [1]])
def test_what_is_no_number_is_in_no_range(value: Any) -> None:
    for name in ("alpha", "contour", "scale"):
        with pytest.raises(OptionError, match=name):
            options.OverlayOptions(**{name: value})


@pytest.mark.parametrize("value", [[], {}, 5, True])
@pytest.mark.parametrize("name", ["format", "quantity", "method", "colormap", "alpha", "size", "legend", "outputs"])
def test_no_json_is_more_than_a_bad_option(name: str, value: Any) -> None:
    """Values of the wrong type are refused, or taken for what they plainly mean; nothing else is raised."""
    try:
        made = make_options({name: value})
    except OptionError:
        return
    assert (name, value) in [("outputs", []), ("size", 5), ("size", True), ("alpha", True), ("legend", True)]
    made.question(), made.drawing(0.5)


def test_names_are_checked_before_anything_is_computed() -> None:
    with pytest.raises(UnknownName, match="did you mean 'gradcam'"):
        options.ExplainOptions(method="grad_cam")
    with pytest.raises(UnknownName, match="unknown quantity 'softmax'; did you mean 'log-softmax'"):
        options.ExplainOptions(quantity="softmax")
    with pytest.raises(UnknownName, match="did you mean 'inferno'"):
        options.OverlayOptions(colormap="infreno")


def test_records_are_keys_and_travel() -> None:
    how = options.ExplainOptions(layer=["blocks.10", "head"], method="layercam")
    assert how.layers == ("blocks.10", "head")
    assert hash(how) == hash(options.ExplainOptions(layer=("blocks.10", "head"), method="layercam"))
    made = Options(how=how, look=options.OverlayOptions(alpha=0.5), methods=("cam",))
    assert pickle.loads(pickle.dumps(made)) == made
    assert made.by("cam") == options.ExplainOptions(layer=("blocks.10", "head"), method="cam")
    assert json.loads(json.dumps(made.facts()))["layer"] == ["blocks.10", "head"]


def plan(facts: dict[str, Any]) -> Plan:
    return Plan(Path("out"), "in", 1, 0, False, 0, {"options": json.loads(json.dumps(facts))})


def test_a_run_goes_on_where_an_option_that_it_did_not_know_is_left_alone() -> None:
    facts = Options().facts()
    older = {name: value for name, value in facts.items() if name not in ("sharp", "quantity")}
    older["look"] = {name: value for name, value in facts["look"].items() if name != "legend"}
    check_same(plan(older), "in", {"options": facts})
    changed = Options(how=options.ExplainOptions(quantity="log-softmax"), look=options.OverlayOptions(legend=True))
    said = "options.look.legend was False, is True; options.quantity was 'logit', is 'log-softmax'"
    with pytest.raises(OptionError, match=said):
        check_same(plan(older), "in", {"options": changed.facts()})


def test_help_says_a_line_of_each_option() -> None:
    for method, kinds in (
        (camserve.Model.explain, (options.Targeted, options.ExplainOptions)),
        (camserve.Model.explain_classes, (options.ExplainOptions,)),
        (camserve.Explanation.overlay, (options.OverlayOptions,)),
    ):
        text = inspect.getdoc(method) or ""
        for kind in kinds:
            for name, (one, _) in about.about(kind).items():
                assert f"    {name}: {one.sentence}" in text
    assert "    size: What the network sees: fit, crop, native or a short side in pixels. Default: fit." in (
        inspect.getdoc(camserve.Model.explain) or ""
    )


def test_several_methods_where_one_is_taken_are_refused_in_words(model: camserve.Model) -> None:
    with pytest.raises(OptionError) as raised:
        model.explain(picture(), method=["cam", "layercam"])  # type: ignore[arg-type]
    assert str(raised.value) == (
        "method ['cam', 'layercam'] is not one name; for several, call model.explain_methods(image, [...]), or give "
        "`camserve explain` --method for each"
    )
    with pytest.raises(OptionError, match="method 3 is not one name; give it as text"):
        model.explain(picture(), method=3)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="unknown option 'methd'; did you mean 'method'"):
        model.explain(picture(), methd="cam")  # type: ignore[call-arg]
