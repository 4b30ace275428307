"""A network with two heads, at every door: which of them is explained is said by its card, or by `output`."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture
from flask.testing import FlaskClient

import camserve
from camserve.batch import Options, run_batch
from camserve.catalogue.options import ExplainOptions
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import ModelError, OptionError, UnknownName
from camserve.findings.results import read_rows
from camserve.images.reading import encode
from camserve.models.architectures.by_name import build
from camserve.models.card import Card, check_files, read_card
from camserve.onboarding.new_card import card_text
from camserve.web.app import create_app
from camserve.web.service import Service

NET = """
import torch
from torch import nn

class Attributes(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
        self.colour, self.shape = nn.Linear(16, 3), nn.Linear(16, 4)

    def forward(self, x):
        pooled = self.body(x).mean((2, 3))
        return {"heads": {"colour": self.colour(pooled), "shape": self.shape(pooled)}}
"""
INPUT = "[input]\nsize = 32\nmean = [0, 0, 0]\nstd = [255, 255, 255]\n"
CARD = f"""
architecture = "./net.py:Attributes"
output = "colour"
{INPUT}
[labels]
colour = "colours.txt"
"heads.shape" = "shapes.txt"
"""
COLOURS, SHAPES = ("red", "green", "blue"), ("disc", "square", "ring", "star")
PNG = encode(picture(1, (40, 30)), "png")


def write_card(folder: Path, text: str = CARD) -> Path:
    folder.mkdir(exist_ok=True)
    files = {"net.py": NET, "colours.txt": "\n".join(COLOURS), "shapes.txt": "\n".join(SHAPES), "card.toml": text}
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_card(tmp_path_factory.mktemp("models") / "attributes")


@pytest.fixture(scope="module")
def model(card: Path) -> camserve.Model:
    return camserve.load(card)


@pytest.fixture(scope="module")
def client(card: Path) -> Iterator[FlaskClient]:
    environ = {"CAMSERVE_EXPLAIN_MODEL": "attributes", "CAMSERVE_MODELS_FOLDERS": str(card.parent)}
    service = Service(load_settings(environ=environ))
    service.load()
    yield create_app(service=service).test_client()
    service.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.png").write_bytes(PNG)
    return tmp_path / "photos" / "one.png"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def asked(client: FlaskClient, query: str, **headers: str) -> Any:
    headers = {"Accept": "application/json", **headers}
    return client.post(f"/api/v1/explain?{query}", data=PNG, content_type="image/png", headers=headers)


def test_a_card_says_which_output_and_has_labels_for_each(model: camserve.Model) -> None:
    assert (model.output, model.labels, model.outputs) == ("heads.colour", COLOURS, ("heads.colour", "heads.shape"))
    made = model.explain(PNG, output="shape", target="ring")
    assert (made.output, made.class_index, made.labels) == ("heads.shape", 2, SHAPES)


@pytest.mark.parametrize("output", ["shape", "heads.shape", "1"])
def test_the_same_map_through_every_door(
    model: camserve.Model, client: FlaskClient, card: Path, image: Path, tmp_path: Path, output: str
) -> None:
    expected = model.explain(PNG, output=output)
    result = run("explain", image, "-m", card, "--output", output, "-o", tmp_path / "out", "--json")
    line = json.loads(result.stdout)
    by_http = asked(client, f"output={output}").get_json()
    for facts in (line, by_http):
        assert (facts["output"], facts["class_name"]) == ("heads.shape", expected.class_name)
        assert np.array_equal(np.array(facts["map"], np.float32), expected.map)
    run_batch(model, image.parent, tmp_path / "run", Options(how=ExplainOptions(output=output), outputs=("map",)))
    (row,) = read_rows(tmp_path / "run")
    assert (row["output"], row["predicted"]["class_name"]) == ("heads.shape", expected.class_name)
    assert np.array_equal(np.load(tmp_path / "run" / row["explanations"][0]["files"]["map"]), expected.map)


def test_without_an_output_it_is_the_card_s(client: FlaskClient, card: Path, image: Path, tmp_path: Path) -> None:
    assert asked(client, "").get_json()["output"] == "heads.colour"
    assert asked(client, "output=").get_json()["output"] == "heads.colour"
    assert (
        json.loads(run("explain", image, "-m", card, "-o", tmp_path / "out", "--json").stdout)["class_name"] in COLOURS
    )


def test_what_the_service_remembers_is_of_one_output(client: FlaskClient) -> None:
    colour, shape = asked(client, ""), asked(client, "output=shape")
    assert asked(client, "output=1").get_json() == shape.get_json() != colour.get_json()
    assert len({colour.headers["ETag"], shape.headers["ETag"]}) == 2
    assert asked(client, "output=shape", **{"If-None-Match": shape.headers["ETag"]}).status_code == 304
    assert asked(client, "output=shape", **{"If-None-Match": colour.headers["ETag"]}).status_code == 200


def test_the_outputs_of_a_model_are_listed(client: FlaskClient, card: Path) -> None:
    listed = client.get("/api/v1/models/attributes/layers").get_json()["outputs"]
    assert listed == ["heads.colour", "heads.shape"]
    assert json.loads(run("inspect", card, "--json").stdout)["outputs"] == listed
    assert "the network has others: heads.shape." in run("inspect", card).stdout.replace("\n", " ")


def test_several_classes_of_an_output_over_http(client: FlaskClient) -> None:
    path = "/api/v1/explain/classes?output=shape&targets=top 2"
    answer = client.post(path, data=PNG, content_type="image/png", headers={"Accept": "application/json"})
    assert {one["class_name"] for one in answer.get_json()["explanations"]} < set(SHAPES)


def test_the_other_dialects_take_it_as_a_parameter(model: camserve.Model, client: FlaskClient) -> None:
    text, expected = base64.b64encode(PNG).decode(), model.explain(PNG, output="shape")
    body = {"instances": [{"b64": text}], "parameters": {"output": "shape", "outputs": ["mask"]}}
    for verb in ("predict", "explain"):
        answer = client.post(f"/v1/models/attributes:{verb}", json=body).get_json()
        assert answer["predictions"][0]["class_name"] == expected.class_name
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    second = {"inputs": [tensor], "parameters": {"output": 1}, "outputs": [{"name": "scores"}]}
    answer = client.post("/v2/models/attributes/infer", json=second).get_json()
    assert answer["outputs"][0]["data"] == expected.scores.tolist()


def test_an_output_that_there_is_not(client: FlaskClient, card: Path, image: Path, tmp_path: Path) -> None:
    said = "unknown output 'hue'. Known: heads.colour (N, 3), heads.shape (N, 4)"
    answer = asked(client, "output=hue")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "unknown_name")
    assert said in answer.get_json()["detail"]
    commands: list[list[str | Path]] = [
        ["explain", image, "--output", "hue", "-o"],
        ["batch", image.parent, "--model-output", "hue"],
    ]
    for command in commands:
        result = run(*command, tmp_path / "out", "-m", card)
        assert (result.exit_code, result.stderr) == (2, f"camserve: {said}\n")
    assert not (tmp_path / "out").exists()


def test_several_outputs_on_the_command_line_are_an_explanation_each(
    model: camserve.Model, card: Path, image: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = run("explain", image, "-m", card, "--output", "colour", "--output", "shape", "-o", out, "--json")
    facts = json.loads(result.stdout)
    assert [entry["name"] for entry in facts["entries"]] == ["heads-colour", "heads-shape"]
    for entry, name in zip(facts["entries"], ("colour", "shape"), strict=True):
        grid_map = np.load(Path(entry["folder"]) / "map.npy")
        assert np.array_equal(grid_map, model.explain(PNG, output=name).map)
    assert Path(facts["sheet"]).is_file()
    said = run("explain", image, "-m", card, "--output", "colour", "--output", "shape", "-o", out).stdout
    assert "heads-shape: score 0." in said


def test_what_does_not_go_with_several_outputs(card: Path, image: Path, tmp_path: Path) -> None:
    both: list[str | Path] = ["-m", card, "--model-output", "colour", "--model-output", "shape"]
    assert (
        "one sheet cannot combine several methods and several outputs"
        in run("explain", image, *both, "--method", "cam,fem").stderr
    )
    assert "one output: give one of each" in run("explain", image, *both, "--top", "2").stderr
    assert "a run explains one output" in run("batch", image.parent, tmp_path / "out", *both).stderr


def test_a_run_over_one_output(card: Path, image: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags: list[str | Path] = ["-m", card, "--model-output", "shape", "--output", "none"]
    assert run("batch", image.parent, out, *flags).exit_code == 0
    (row,) = read_rows(out)
    assert (row["output"], row["predicted"]["class_name"] in SHAPES) == ("heads.shape", True)
    assert "attributes, heads.shape" in (out / "index.html").read_text()
    result = run("batch", image.parent, out, "-m", card, "--output", "none", "--resume")
    assert "options.output was 'shape', is None" in result.stderr


def test_the_card_s_one_list_of_labels_is_of_its_own_output(tmp_path: Path) -> None:
    text = f'architecture = "net.py:Attributes"\noutput = 0\nlabels = "colours.txt"\n{INPUT}'
    folder = write_card(tmp_path / "one", text)
    assert camserve.load(folder).labels == COLOURS
    assert camserve.load(folder, output="shape").labels[0] == "class 0"
    assert camserve.load(folder, output="heads.colour").labels == COLOURS
    assert camserve.load(folder, output="shape", labels=SHAPES).labels == SHAPES
    assert camserve.load(folder).of_output("shape").labels[0] == "class 0"


def test_a_card_that_says_nothing_of_it_or_what_is_not_true(tmp_path: Path) -> None:
    silent = write_card(tmp_path / "silent", f'architecture = "net.py:Attributes"\n{INPUT}')
    with pytest.raises(ModelError, match=r"several tensors could be the logits: heads\.colour \(N, 3\), heads"):
        camserve.load(silent)
    assert camserve.load(silent, output=1).output == "heads.shape"
    wrong = write_card(tmp_path / "wrong", CARD.replace('output = "colour"', 'output = "hue"'))
    with pytest.raises(ModelError, match=r"card\.toml' is wrong: unknown output 'hue'.*heads\.shape \(N, 4\)"):
        camserve.load(wrong)
    with pytest.raises(UnknownName, match="unknown output 'hue'"):
        camserve.load(silent, output="hue")
    odd = write_card(tmp_path / "odd", CARD.replace('output = "colour"', "output = true"))
    with pytest.raises(ModelError, match="output"):
        camserve.load(odd)
    write_card(tmp_path / "missing")
    (tmp_path / "missing" / "shapes.txt").unlink()
    with pytest.raises(ModelError, match=r"shapes\.txt', which does not exist"):
        check_files(tmp_path / "missing" / "card.toml", camserve.config.settings().models)


def test_a_card_that_is_written_says_the_output(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(card_text(Card(architecture="net.py:Attributes", output="heads.shape")))
    assert read_card(tmp_path / "card.toml").output == "heads.shape"


def test_a_model_with_several_outputs_is_added(card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(card)
    torch.save(build("net.py:Attributes").state_dict(), tmp_path / "own.pth")
    command: list[str | Path] = [
        "add",
        tmp_path / "own.pth",
        "-a",
        "./net.py:Attributes",
        "--size",
        "32",
        "--folder",
        tmp_path,
    ]
    assert "several tensors could be the logits" in run(*command).stderr
    result = run(*command, "--output", "shape", "--labels", "shapes.txt")
    assert result.exit_code == 0, result.stderr
    added = camserve.load(tmp_path / "own")
    assert (added.output, added.labels) == ("heads.shape", SHAPES)


def test_options_that_are_no_output() -> None:
    from camserve.web.request_options import make_options

    values: list[Any] = [[], {}, 1.5]
    for value in values:
        with pytest.raises(OptionError, match="output"):
            make_options({"output": value})
