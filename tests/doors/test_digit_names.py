"""Classes named by digits: the name wins over the index, whichever way a class is asked for."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import picture
from flask.testing import FlaskClient
from torch import nn

import camserve
from camserve.batch import Options, run_batch
from camserve.catalogue.targets import resolve_target
from camserve.cli import main
from camserve.config import load_settings
from camserve.errors import OptionError
from camserve.findings.results import read_rows
from camserve.images.reading import encode
from camserve.web.app import create_app
from camserve.web.service import Service

# As a folder of folders is sorted: index 2 is called 10, index 10 is called 8.
LABELS = sorted(map(str, range(12)))
PNG = encode(picture(1, (40, 30)), "png")
INPUT: dict[str, Any] = {"size": 32, "mean": (0, 0, 0), "std": (255, 255, 255)}
NET = """
import torch
from torch import nn
def tiny():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 12))
"""
CARD = """
architecture = "./net.py:tiny"
labels = "labels.txt"
[input]
size = 32
mean = [0, 0, 0]
std = [255, 255, 255]
"""


@pytest.fixture(scope="module")
def digits() -> camserve.Model:
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 12))
    return camserve.load(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), *head), labels=LABELS, **INPUT)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "digits"
    folder.mkdir()
    for name, text in {"net.py": NET, "labels.txt": "\n".join(LABELS), "card.toml": CARD}.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def client(card: Path) -> Iterator[FlaskClient]:
    environ = {"CAMSERVE_EXPLAIN_MODEL": "digits", "CAMSERVE_MODELS_FOLDERS": str(card.parent)}
    service = Service(load_settings(environ=environ))
    service.load()
    yield create_app(service=service).test_client()
    service.close()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "one.png").write_bytes(PNG)
    return tmp_path / "one.png"


# What is asked for, the index, the class subtracted.
ASKED = [
    ("10", 2, None),
    ("#10", 10, None),
    ("8", 10, None),
    ("10-8", 2, 10),
    ("#10-8", 10, 10),
    ("#10-#3", 10, 3),
    ("-10", 2, None),
    ("-#10", 10, None),
]


@pytest.mark.parametrize(("asked", "index", "against"), [*ASKED, (10, 10, None), (2, 2, None)])
def test_in_python_text_is_a_name_and_a_number_an_index(
    digits: camserve.Model, asked: str | int, index: int, against: int | None
) -> None:
    made = digits.explain(PNG, target=asked)
    assert (made.class_index, made.class_name, made.target.against) == (index, LABELS[index], against)


def test_the_predicted_class_against_one_named_by_digits(digits: camserve.Model) -> None:
    made = digits.explain(PNG, target="predicted-10")
    assert (made.class_index, made.target.against) == (digits.explain(PNG).class_index, 2)


def test_several_classes_and_several_images_in_python(digits: camserve.Model) -> None:
    assert [one.class_index for one in digits.explain_classes(PNG, ["10", 10, "#10"])] == [2, 10, 10]
    many = digits.explain_many([PNG, PNG], target=["10", 10])
    assert [one.class_index for one in many if isinstance(one, camserve.Explanation)] == [2, 10]


@pytest.mark.parametrize(
    ("option", "labels", "index", "against"),
    [
        ("3-5", ("3", "5", "3-5"), 2, None),  # the whole name first
        ("5-3", ("3", "5", "3-5"), 1, 0),
        ("-1", ("0", "1", "-1"), 2, None),
        ("1", ("zero", "one"), 1, None),  # no name, so an index, as ever
        ("01", ("0", "1", "2"), 1, None),
        ("cat", ("CAT", "cat", "Cat"), 1, None),  # exactly so before in another case
        ("DOG", ("cat", "dog"), 1, None),
        ("#1", ("cat", "dog", "#1"), 2, None),
        ("top 3", ("3", "top 3"), 1, None),
    ],
)
def test_exact_text_comes_first(option: str, labels: tuple[str, ...], index: int, against: int | None) -> None:
    target = resolve_target(option, np.zeros(len(labels), np.float32), labels)
    assert (target.index, target.against, target.sign) == (index, against, 1)


@pytest.mark.parametrize(
    ("option", "labels", "message"),
    [
        ("crane", ("crane", "cat", "crane"), "class 'crane' is the name of 2 classes, 0, 2; give an index, 0 as a num"),
        ("crane-cat", ("crane", "cat", "crane"), "class 'crane' is the name of 2 classes, 0, 2"),
        ("well-fed", ("well-fed", "well", "fed", "well-fed"), "class 'well-fed' is the name of 2 classes, 0, 3"),
        ("7", ("7", "7", "8"), "class '7' is the name of 2 classes, 0, 1; .* or '#0' as text"),
        ("cat", ("CAT", "Cat", "dog"), "class 'cat' is the name of 2 classes, 0, 1"),
        ("x", ("x",) * 12, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more; give"),
        ("12", LABELS, "target 12 is not a class; the model has classes 0 to 11"),
        ("#12", LABELS, "target 12 is not a class"),
        ("9" * 5000, LABELS, r"is not a class; the model has classes 0 to 11"),
        ("#", ("cat", "dog"), "unknown class '#'"),
        ("#cat", ("cat", "dog"), "unknown class '#cat'; did you mean 'cat'"),
    ],
)
def test_what_is_no_one_class_is_said(option: str, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        resolve_target(option, np.zeros(len(labels), np.float32), labels)


@pytest.mark.parametrize(("asked", "index", "against"), ASKED)
def test_on_the_command_line(
    card: Path, image: Path, tmp_path: Path, asked: str, index: int, against: int | None
) -> None:
    command = ["explain", str(image), "-m", str(card), f"--target={asked}", "-o", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(main, command)
    facts = json.loads(result.stdout)
    sign = "against " if against is None and asked.startswith("-") else ""
    name = f"{sign}{LABELS[index]}" + ("" if against is None else f" - {LABELS[against]}")
    assert (facts["class_index"], facts["target"]["name"]) == (index, name)


def test_a_sheet_of_several_targets(card: Path, image: Path, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(main, ["explain", str(image), "-m", str(card), "-t", "10", "-t", "#10", *out])
    assert [entry["class_name"] for entry in json.loads(result.stdout)["entries"]] == ["10", "8"]


def indices(out: Path) -> dict[str, int]:
    return {row["file"]: row["expected"]["class_index"] for row in read_rows(out)}


def test_folders_are_classes(digits: camserve.Model, tmp_path: Path) -> None:
    for label in LABELS:
        (tmp_path / "in" / label).mkdir(parents=True)
        (tmp_path / "in" / label / "a.png").write_bytes(PNG)
    run_batch(digits, tmp_path / "in", tmp_path / "out", Options(outputs=()), folders_are_classes=True)
    assert indices(tmp_path / "out") == {f"{label}/a.png": index for index, label in enumerate(LABELS)}


def test_columns_of_a_table_and_targets_of_a_batch(digits: camserve.Model, image: Path, tmp_path: Path) -> None:
    (tmp_path / "two.png").write_bytes(PNG)
    table = tmp_path / "table.csv"
    table.write_text("file,class,target\none.png,10,11\ntwo.png,#10,10-8\n")
    run_batch(digits, table, tmp_path / "out", Options(outputs=()))
    assert indices(tmp_path / "out") == {"one.png": 2, "two.png": 10}
    assert [row["explanations"][0]["target"] for row in read_rows(tmp_path / "out")] == ["11", "10 - 8"]
    run_batch(digits, image.parent / "*.png", tmp_path / "asked", Options(outputs=(), targets=("10", "#10")))
    for row in read_rows(tmp_path / "asked"):
        assert [one["class_index"] for one in row["explanations"]] == [2, 10]


JSON = {"Accept": "application/json"}


@pytest.mark.parametrize(("asked", "index", "against"), ASKED)
def test_in_a_query_and_in_a_form(client: FlaskClient, asked: str, index: int, against: int | None) -> None:
    url, query = "/api/v1/explain", {"target": asked}
    by_query = client.post(url, query_string=query, data=PNG, content_type="image/png", headers=JSON).get_json()
    form = {"image": (io.BytesIO(PNG), "a.png"), **query}
    by_form = client.post(url, data=form, headers=JSON).get_json()
    assert by_query["class_index"] == by_form["class_index"] == index
    assert by_query["target"] == by_form["target"]
    assert (" - " in by_query["target"]["name"]) == (against is not None)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [("10", [2]), ("#10", [10]), ("10;#10", [2, 10]), ("8;", [10]), ("#3;10", [3, 2])],
)
def test_several_classes_over_http(client: FlaskClient, targets: str, expected: list[int]) -> None:
    assert several(client, targets) == expected


def several(client: FlaskClient, targets: str) -> list[int]:
    query = {"targets": targets}
    answer = client.post(
        "/api/v1/explain/classes", query_string=query, data=PNG, content_type="image/png", headers=JSON
    )
    return [one["class_index"] for one in answer.get_json()["explanations"]]


def test_so_many_of_the_best_over_http(client: FlaskClient) -> None:
    assert len(several(client, "top 3")) == 3
    assert len(several(client, "12")) == 12  # the name of no class


@pytest.mark.parametrize(("asked", "index"), [("10", 2), (10, 10), ("#10", 10)])
@pytest.mark.parametrize("url", ["/v1/models/digits:explain", "/invocations", "/explanations/digits"])
def test_json_tells_text_from_numbers(client: FlaskClient, url: str, asked: Any, index: int) -> None:
    body = {"instances": [{"b64": base64.b64encode(PNG).decode()}], "parameters": {"target": asked}}
    (explained,) = client.post(url, json=body).get_json()["explanations"]
    assert explained["attributions"][0]["output_index"] == [index]


@pytest.mark.parametrize(("asked", "index"), [("10", 2), (10, 10), ("#10", 10)])
def test_open_inference_tells_text_from_numbers(client: FlaskClient, asked: Any, index: int) -> None:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(PNG).decode()]}
    body = {"inputs": [tensor], "parameters": {"target": asked}, "outputs": [{"name": "scores"}]}
    answer = client.post("/v2/models/digits/infer", json=body).get_json()
    assert answer["parameters"]["class_index"] == index


def test_the_page_without_javascript(client: FlaskClient) -> None:
    form = {"image": (io.BytesIO(PNG), "a.png"), "target": "10"}
    said = client.post("/", data=form).get_data(as_text=True)
    form = {"image": (io.BytesIO(PNG), "a.png"), "target": "#2"}
    assert client.post("/", data=form).get_data(as_text=True) == said.replace('value="10"', 'value="#2"')
