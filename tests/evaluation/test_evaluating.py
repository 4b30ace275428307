"""Methods x metrics over images: means and intervals by hand, mosaics, order, and the folder's files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import camserve
from camserve.batch import Options, run_batch
from camserve.catalogue.options import ExplainOptions
from camserve.cli import main
from camserve.datasets.inputs import Item
from camserve.errors import OptionError, UnknownName
from camserve.evaluation.evaluation_page import write_evaluation
from camserve.evaluation.examining import Examiner
from camserve.evaluation.intervals import Figure, differs, figure_of
from camserve.evaluation.mosaics import Mosaics, pool_of
from camserve.evaluation.standings import Evaluation
from camserve.findings.results import read_rows

INPUT: dict[str, Any] = {"size": 32, "crop": 1.0, "mean": (0, 0, 0), "std": (255, 255, 255)}
NAMES = ("red", "green", "blue", "white")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}


def colours() -> nn.Module:
    """What is red, green, blue or white, each place for itself: the features are the classes, the head counts them."""
    body = nn.Conv2d(3, 4, 4, 4)
    head = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        mixed = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
        body.weight.copy_((mixed / 16)[:, :, None, None].expand(4, 3, 4, 4))
        body.bias.copy_(torch.tensor([0.0, 0, 0, -2]))
        head.weight.copy_(20 * torch.eye(4))
    return nn.Sequential(nn.Sequential(body, nn.ReLU()), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


@pytest.fixture(scope="module")
def colourful() -> camserve.Model:
    return camserve.load(colours(), labels=NAMES, **INPUT)


def spot(name: str, place: int = 0) -> Image.Image:
    """32 x 32, black, with a square of 16 in one of its corners."""
    image = Image.new("RGB", (32, 32))
    image.paste(COLOURS[name], (16 * (place % 2), 16 * (place // 2), 16 + 16 * (place % 2), 16 + 16 * (place // 2)))
    return image


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight spots in folders named by their class, and a file that is no image."""
    made = tmp_path_factory.mktemp("spots")
    for place in range(2):
        for name in NAMES:
            (made / name).mkdir(exist_ok=True)
            spot(name, place).save(made / name / f"{place}.png")
    (made / "red" / "broken.png").write_text("no image")
    return made


def test_means_and_intervals_by_hand() -> None:
    assert figure_of(np.array([])) is None
    assert figure_of(np.array([np.nan, 0.5])) == Figure(0.5, None, None, 1)
    assert figure_of(np.full(9, 0.25)) == Figure(0.25, 0.25, 0.25, 9)
    found = figure_of(np.array([0.0, 1.0] * 200))
    assert found is not None
    assert found.mean == 0.5
    # of 400 fair coins the mean deviates by 1 / (2 sqrt 400) = 0.025
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.006)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.006)
    assert found == figure_of(np.array([0.0, 1.0] * 200))


def test_what_differs_on_the_same_images_is_paired() -> None:
    values = np.random.default_rng(0).normal(size=50)
    assert differs(values + 0.01, values)
    assert not differs(values, values)
    assert not differs(values, np.random.default_rng(1).normal(size=50))


def test_a_mosaic_holds_four_classes_each_in_its_cell(colourful: camserve.Model) -> None:
    items = [Item(f"{name}.png", "", expected=str(index)) for index, name in enumerate(NAMES)]
    opened = {item.name: spot(name) for item, name in zip(items, NAMES, strict=True)}

    def photo(item: Item) -> camserve.explanation.explanation.Photo:
        from camserve.explain import open_photo

        return open_photo(colourful, opened[item.name])

    mosaics = Mosaics(colourful, pool_of(items), photo)
    for index, item in enumerate(items):
        mosaic = mosaics.of(item, photo(item))
        assert mosaic is not None
        assert (mosaic.image.size, mosaic.index, int(mosaic.inside.sum())) == ((64, 64), index, 32 * 32)
        cells = np.asarray(mosaic.image)[mosaic.inside].reshape(32, 32, 3)
        assert (cells == np.asarray(opened[item.name])).all()
        assert len(np.unique(np.asarray(mosaic.image).reshape(-1, 3), axis=0)) == 5  # black and four colours
    wrong = Item("red.png", "", expected="1")
    assert mosaics.of(wrong, photo(wrong)) is None
    assert Mosaics(colourful, pool_of(items[:3]), photo).of(items[0], photo(items[0])) is None


def test_exact_maps_win_and_random_ones_come_last(colourful: camserve.Model) -> None:
    images = [spot(name, place) for place in range(2) for name in NAMES]
    found = colourful.compare_methods(images, ["random", "cam"], classes=list(NAMES) * 2)
    assert [one.name for one in found.standings] == ["cam", "random"]
    assert (found.standings[0].rank, found.standings[1].rank) == (0, 1)
    assert found.recommended is not None
    assert found.recommended.name == "cam"
    assert found.standings[0].figures["grid_pg"].mean == pytest.approx(
        1, abs=0.05
    )  # but for half a cell beyond its edges
    baselines = {one.name: one.figures for one in found.baselines}
    assert baselines["uniform"]["grid_pg"].mean == pytest.approx(0.25)
    assert baselines["uniform"]["grid_auroc"].mean == pytest.approx(0.5)
    assert "Recommended: cam" in str(found)
    assert json.loads(json.dumps(found.to_dict()))["recommended"] == "cam"


def test_broken_maps_come_last(colourful: camserve.Model) -> None:
    """The exact map beside one that is shifted, one of another class, and noise, each called by a name of its own."""
    examiner = Examiner(colourful, ("insertion", "deletion", "pointing"))
    rows: list[dict[str, Any]] = []
    noise = np.random.default_rng(0)
    for place in range(4):
        for index, name in enumerate(NAMES):
            image = Image.composite(
                spot(name, place), Image.new("RGB", (32, 32), (40, 40, 40)), spot("white", place).convert("L")
            )
            right = colourful.explain(image, target=index)
            broken = {
                "right": right.map,
                "shifted": np.roll(right.map, (3, 3), (0, 1)),
                "wrong class": colourful.explain(image, target=(index + 1) % 4).map,
                "noise": noise.random(right.map.shape).astype(np.float32),
            }
            inside = np.asarray(spot("white", place).convert("L")) > 0
            made = [(ExplainOptions(), replace(right, map=values)) for values in broken.values()]
            measured, baselines = examiner.image(Item("", ""), right.photo, made, inside)
            each = [
                {"method": name, "metrics": one, "seconds": 0.01} for name, one in zip(broken, measured, strict=True)
            ]
            rows.append({"status": "ok", "explanations": each, "baselines": baselines})
    found = Evaluation(("insertion", "deletion", "pointing"), rows)
    assert found.standings[0].name == "right"
    assert found.recommended is not None
    assert found.recommended.name == "right"


def test_where_the_object_is_known_it_counts(colourful: camserve.Model) -> None:
    image, inside = spot("red", 3), np.zeros((32, 32), bool)
    inside[16:, 16:] = True
    one = colourful.explain(image)
    measured = one.evaluate(colourful, ["pointing", "energy", "deletion"], inside)
    assert measured["pointing"] == 1
    assert measured["energy"] == pytest.approx(1, abs=0.15)
    assert set(measured) == {"pointing", "energy", "deletion"}
    assert one.evaluate(colourful, ["pointing"]) == {"pointing": None}
    found = colourful.compare_methods([image], ["cam"], ["pointing"], objects=[inside])
    assert found.standings[0].figures["pointing"] == Figure(1, None, None, 1)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"metrics": ["cascade_ssim"]}, OptionError, "camserve sanity"),
        ({"metrics": ["sharpness"]}, UnknownName, "sharpness"),
        ({"classes": ["red"]}, OptionError, "classes: 1 for 2 images"),
        ({"objects": [None, np.ones((3, 3), bool)]}, OptionError, r"the shape \(3, 3\)"),
    ],
)
def test_what_cannot_be_measured_is_said(
    colourful: camserve.Model, how: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        colourful.compare_methods([spot("red"), spot("blue")], ["cam"], **how)


def test_a_metric_without_a_value_says_what_it_needs(colourful: camserve.Model) -> None:
    found = colourful.compare_methods([spot("red"), spot("blue")], ["cam"], ["grid_pg", "pointing"], ["red", "blue"])
    assert list(found.reasons())[1:] == [
        "pointing has no value here: it needs boxes or masks that say where the objects are.",
        "grid_pg has no value here: it needs labelled images of four classes that the model answers correctly, with a "
        "score of 0.5 or more.",
    ]


def test_another_model_cannot_measure(colourful: camserve.Model, model: camserve.Model) -> None:
    with pytest.raises(OptionError, match="is of the model"):
        colourful.explain(spot("red")).evaluate(model)


def test_a_folder_is_measured_as_a_list_is_and_can_be_resumed(
    colourful: camserve.Model, folder: Path, tmp_path: Path
) -> None:
    metrics = ("grid_pg", "grid_auroc", "insertion", "deletion")
    options = Options(methods=("cam", "random"), metrics=metrics)
    summary = run_batch(colourful, folder, tmp_path / "out", options, folders_are_classes=True)
    assert (summary.explained, summary.failed) == (8, 1)
    rows = list(read_rows(tmp_path / "out"))
    found = Evaluation(metrics, rows)
    assert (found.count, found.skipped) == (8, 1)
    listed = colourful.compare_methods(
        [Image.open(folder / row["file"]) for row in rows if row["status"] == "ok"],
        ["cam", "random"],
        ["insertion", "deletion"],
        classes=[row["file"].split("/")[0] for row in rows if row["status"] == "ok"],
    )
    for one, other in zip(found.standings, listed.standings, strict=True):
        assert one.figures["insertion"] == other.figures["insertion"]
        assert one.figures["deletion"] == other.figures["deletion"]
    results = tmp_path / "out" / "results.jsonl"
    whole = results.read_text()
    results.write_text("".join(whole.splitlines(keepends=True)[:4]))
    run_batch(colourful, folder, tmp_path / "out", options, folders_are_classes=True, resume=True)
    again = Evaluation(metrics, read_rows(tmp_path / "out"))
    assert [one.figures for one in again.standings] == [one.figures for one in found.standings]
    write_evaluation(tmp_path / "out", again, "colours", str(folder))
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "Which method explains colours best?" in page
    assert "8 images" in page
    assert (tmp_path / "out" / "evaluation.csv").read_text().startswith("method,baseline,metric,mean")
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text())["recommended"] == "cam"


def test_figures_for_a_paper(colourful: camserve.Model, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are drawn by matplotlib")
    found = colourful.compare_methods([spot("red"), spot("green")], ["cam", "random"], ["deletion"])
    write_evaluation(tmp_path, found, "colours", "spots", figures=True)
    assert (tmp_path / "evaluation.svg").read_text().count("<svg") == 1
    assert (tmp_path / "evaluation.pdf").read_bytes().startswith(b"%PDF")


def test_the_command_says_which_method_and_why(photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "images.csv"
    table.write_text(f"file,class\n{photos / 'chelsea.png'},Egyptian cat\n{photos / 'coffee.png'},espresso\n")
    arguments = ["evaluate", "efficientnet-lite0", str(table), "-o", str(tmp_path / "out"), "--quiet"]
    result = CliRunner().invoke(main, [*arguments, "--method", "cam,random", "--metric", "deletion"])
    assert result.exit_code == 0, result.output
    assert "Recommended: cam" in result.output
    assert (tmp_path / "out" / "evaluation.html").is_file()
    both = CliRunner().invoke(main, [*arguments, "--boxes", "a.csv", "--masks", "b"])
    assert both.exit_code == 2
    assert "give one of them" in both.output
