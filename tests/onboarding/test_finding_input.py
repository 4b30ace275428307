"""`camserve add --photos`: the input that a network was trained with, found with photographs whose class is known."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import nn

from camserve import config
from camserve.cli import main
from camserve.errors import ImageError, OptionError
from camserve.geometry.frame import crop
from camserve.images.reading import Photo
from camserve.models.card import Input, read_card
from camserve.models.inputs.preprocessing import to_input
from camserve.onboarding.labelled_photos import MOST, read_labelled
from camserve.onboarding.photo_trials import Search, Shown

COLOURS = {
    "brick": (180, 60, 40), "coral": (230, 120, 90), "denim": (60, 90, 160), "fern": (70, 140, 60),
    "lilac": (180, 150, 210), "night": (20, 25, 50), "sand": (220, 200, 150), "teal": (30, 130, 130),
}  # fmt: skip

# Takes 64 x 64 pixels only, like any network that flattens its maps.
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=8):
        super().__init__(nn.Conv2d(3, 3, 1), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * 64, num_classes))
"""

RIGHT = Input(size=64, crop=0.875, channels="BGR", mean=(127.5,) * 3, std=(127.5,) * 3)


def knowing(spec: Input) -> dict[str, torch.Tensor]:
    """Weights that tell the colours apart, as the nearest, in pictures prepared as `spec` says."""
    values = torch.tensor(list(COLOURS.values()), dtype=torch.float32)
    values = values.flip(1) if spec.channels == "BGR" else values
    nearest = (values - torch.tensor(spec.mean)) / torch.tensor(spec.std)
    weight = 20 * nearest.repeat_interleave(64, 1) / 64
    bias = -10 * (nearest**2).sum(1)
    return {"0.weight": torch.eye(3)[..., None, None], "0.bias": torch.zeros(3), "3.weight": weight, "3.bias": bias}


def coloured(colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (100, 80)) -> Image.Image:
    chance = np.random.default_rng(seed)
    shift = chance.normal(0, 14, 3)
    pixels = np.array(colour) + shift + chance.normal(0, 30, (size[1], size[0], 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: net.py, x.pth trained with RIGHT, photos/COLOUR/N.png, three each; models into mine/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", "mine")
    Path("net.py").write_text(NETWORK)
    torch.save(knowing(RIGHT), "x.pth")
    for index, (name, colour) in enumerate(COLOURS.items()):
        folder = Path("photos", name)
        folder.mkdir(parents=True)
        for seed in range(3):
            coloured(colour, 10 * index + seed).save(folder / f"{seed}.png")
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


ADD = ("add", "x.pth", "-a", "net.py:Net", "--photos", "photos")


def test_the_input_is_found_and_written_down(desk: Path) -> None:
    result = run(*ADD, "--json")
    assert result.exit_code == 0, result.output
    card = read_card(Path("mine/x/card.toml"))
    assert (card.input.size, card.input.channels) == (64, "BGR")
    assert card.input.mean == pytest.approx(RIGHT.mean, abs=0.6)
    assert card.input.std == pytest.approx(RIGHT.std, abs=0.6)
    said = json.loads(result.stdout)
    assert said["input"].startswith("64 x 64 BGR, ")
    assert said["photos"].startswith("24 photographs: 24 right (100 %, log-likelihood -0.")
    best, *others = said["trials"]
    assert (best["right"], best["photographs"], best["size"]) == (24, 24, 64)
    assert all(other["size"] == 64 for other in others)
    stated = next(one for one in others if (one["channels"], one["mean"][0], one["crop"]) == ("RGB", 123.675, 0.875))
    assert stated["right"] < 24
    assert stated["log_likelihood"] < best["log_likelihood"]


def test_the_folders_name_the_classes_where_nobody_else_does(desk: Path) -> None:
    result = run(*ADD)
    assert result.exit_code == 0, result.output
    assert Path("mine/x/labels.txt").read_text().splitlines() == list(COLOURS)
    explained = run("explain", "photos/fern/0.png", "--model", "x", "--size", "crop", "--json")
    assert json.loads(explained.stdout)["class_name"] == "fern"


def test_people_read_a_table(desk: Path) -> None:
    lines = run(*ADD).stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("tried "))
    assert lines[head].split() == ["tried", "right", "log-lik.", "size", "crop", "resample", "mean", "/", "std"]
    assert lines[head + 1].split()[0] == "24/24"
    assert " BGR bicubic  127" in lines[head + 1]
    assert len(lines[head + 1 : -1]) == 8


def test_a_table_names_files_and_classes(desk: Path) -> None:
    rows = [f"photos/{name}/{n}.png,{name}" for name in COLOURS for n in range(3)]
    Path("known.csv").write_text("\n".join(["file,class", *rows]))
    Path("names.txt").write_text("\n".join(COLOURS))
    result = run(*ADD[:-1], "known.csv", "--labels", "names.txt", "--json")
    assert json.loads(result.stdout)["photos"].startswith("24 photographs: 24 right")


def test_what_is_given_stays_as_it_is(desk: Path) -> None:
    options = "--channels RGB --crop 0.5 --resample lanczos --size 64"
    assert run(*ADD, *options.split()).exit_code == 0
    found = read_card(Path("mine/x/card.toml")).input
    assert (found.channels, found.crop, found.resample, found.size) == ("RGB", 0.5, "lanczos", 64)
    assert run(*ADD, "--mean", *"100", "--std", *"999", "--force").exit_code == 0
    found = read_card(Path("mine/x/card.toml")).input
    assert (found.mean, found.std, found.size) == ((1, 0, 0), (9, 9, 9), 64)


def test_photographs_of_other_classes_than_said_are_noticed(desk: Path) -> None:
    Path("names.txt").write_text("\n".join([*list(COLOURS)[3:], *list(COLOURS)[:3]]))
    said = json.loads(run(*ADD, "--labels", "names.txt", "--json").stdout)["photos"]
    assert "hardly more than guessing: are the labels in the order of the logits, and is it this network?" in said


def test_without_photographs_it_is_said_what_is_only_usual(desk: Path) -> None:
    said = json.loads(run(*ADD[:-2], "--size", "64", "--channels", "RGB", "--json").stdout)
    assert said["assumed"] == (
        "the usual values for crop, mean, std, resample, which are not stated; --photos FOLDER finds them"
    )
    options = "--size 64 --crop 1 --mean 0 0 0 --std 255 255 255 --channels RGB --resample bilinear --name y"
    assert "assumed" not in json.loads(run(*ADD[:-2], *options.split(), "--json").stdout)


@pytest.mark.parametrize(
    ("photos", "message"),
    [
        ("gone", "'gone' does not exist; allowed are a folder"),
        ("net.py", "'net.py' is one file"),
        ("photos/fern", "no photographs whose class is known: put them into folders named by their classes, or give"),
        ("part", "'part' has 2 classes, but the network has 8; give them in order with --labels"),
        ("broken", "none of the 8 photographs of 'broken' can be read"),
    ],
)
def test_photographs_that_tell_nothing_are_refused_and_nothing_is_written(
    desk: Path, photos: str, message: str
) -> None:
    for name in ("brick", "fern"):
        Path("part", name).mkdir(parents=True)
        Path("part", name, "0.png").write_bytes(Path("photos", name, "0.png").read_bytes())
    for name in COLOURS:
        Path("broken", name).mkdir(parents=True)
        Path("broken", name, "0.png").write_text("no picture")
    result = run(*ADD[:-1], photos)
    assert result.exit_code != 0
    assert message in result.stderr
    assert not Path("mine").exists()


def test_a_class_that_the_model_does_not_know_is_named_with_its_file(desk: Path) -> None:
    Path("names.txt").write_text("\n".join([*list(COLOURS)[:-1], "turquoise"]))
    result = run(*ADD, "--labels", "names.txt")
    assert result.exit_code == 2
    assert "photos/teal/0.png: unknown class 'teal'" in result.stderr


def test_names_of_another_number_of_classes_are_refused_before_the_search(desk: Path) -> None:
    result = run(*ADD, "--labels", "imagenet")
    assert result.exit_code == 1
    assert "'x' has 8 classes, but 1000 labels were given" in result.stderr


def test_a_size_that_is_given_and_not_taken_is_an_error(desk: Path) -> None:
    result = run(*ADD, "--size", "50")
    assert result.exit_code == 1
    assert "the network fails on an input of" in result.stderr


def test_a_network_that_does_not_take_the_usual_size_is_told_apart_from_a_broken_one(desk: Path) -> None:
    result = run(*ADD[:-2])
    assert result.exit_code == 1
    assert "the network fails on an input of (1, 3, 224, 224)" in result.stderr
    assert ". 224 pixels are only the usual size: give the network's size with --size, or find it with --photos\n" in (
        result.stderr
    )


def test_photographs_are_taken_alternately_and_not_too_many(desk: Path) -> None:
    for number in range(MOST):
        coloured(COLOURS["fern"], number, (8, 8)).save(f"photos/fern/more-{number}.png")
    Path("photos/teal/broken.png").write_text("no picture")
    shown, names = read_labelled(Path("photos"), None, 8, config.load_settings())
    assert names == list(COLOURS)
    assert len(shown.photos) == MOST
    assert list(shown.classes[:7]) == [*range(7)]
    assert [shown.classes.count(index) for index in range(8)] == [3, 3, 3, MOST - 21, 3, 3, 3, 3]


def test_digits_are_indices_where_classes_have_no_names(desk: Path) -> None:
    for index, name in enumerate(COLOURS):
        Path("photos", name).rename(Path("photos", str(index)))
    shown, names = read_labelled(Path("photos"), None, 8, config.load_settings())
    assert names is None
    assert sorted({*shown.classes}) == list(range(8))
    with pytest.raises(OptionError, match="photos/5/0.png: target 5 is not a class"):
        read_labelled(Path("photos"), None, 5, config.load_settings())


def test_large_photographs_are_kept_smaller(desk: Path) -> None:
    Image.new("RGB", (4000, 3300), (9, 9, 9)).save("photos/fern/0.png")
    shown, _ = read_labelled(Path("photos"), None, 8, config.load_settings())
    assert max(max(photo.size) for photo in shown.photos) == 1334


def shown(size: tuple[int, int] = (100, 80)) -> Shown:
    photos = [
        Photo(np.array(coloured(colour, 100 * n + seed, size)), "x", "array")
        for seed in range(5)
        for n, colour in enumerate(COLOURS.values())
    ]
    return Shown(photos, [*range(8)] * 5)


def network(spec: Input) -> nn.Sequential:
    made = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AvgPool2d(spec.size // 8), nn.Flatten(), nn.Linear(3 * 64, 8))
    made.load_state_dict(knowing(spec))
    return made.requires_grad_(False)


@pytest.mark.parametrize(
    "spec",
    [
        Input(size=64),
        Input(size=64, mean=(0, 0, 0), std=(255, 255, 255)),
        Input(size=64, channels="BGR", mean=(104, 117, 123), std=(1, 1, 1)),
        Input(size=64, mean=(0, 0, 0), std=(1, 1, 1)),
        Input(size=64, channels="BGR", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)),
    ],
    ids=["imagenet", "0..1", "caffe", "0..255", "imagenet-bgr"],
)
def test_each_usual_scale_is_told_from_the_others(spec: Input) -> None:
    made = Search(network(spec), shown(), Input(), (), [64]).best()
    assert (made.input.channels, made.input.mean, made.input.std) == (spec.channels, spec.mean, spec.std)
    assert made.right >= 36


def test_a_trial_is_what_the_model_would_say(desk: Path) -> None:
    """The photographs are resampled once for several scales; held against the model's own preprocessing."""
    search = Search(network(RIGHT), shown(), RIGHT, (), [64])
    best = search.best()
    photos = shown()
    inputs = [to_input(photo, crop(photo.size, (64, 64), share=best.input.crop), best.input) for photo in photos.photos]
    answers = network(RIGHT)(torch.cat(inputs)).argmax(1)
    assert best.right == int((answers == torch.tensor(photos.classes)).sum())


def test_photographs_of_the_input_s_own_size_are_taken_whole() -> None:
    spec = RIGHT.model_copy(update={"crop": 1.0})
    assert Search(network(spec), shown((64, 64)), Input(), (), [64]).best().input.crop == 1


def test_what_makes_no_difference_stays_as_stated() -> None:
    """One class is right whatever the input: nothing is clearly better than what was stated."""
    constant = lambda images: torch.eye(8)[[0] * len(images)]  # noqa: E731
    stated = Input(size=96, mean=(1, 2, 3), std=(4, 5, 6))
    assert Search(constant, shown(), stated, (), [64, 96]).best().input == stated


def test_the_number_of_forwards_is_bounded_and_told() -> None:
    told: list[tuple[int, int]] = []
    ever_better = iter(range(10**6))

    def answer(images: torch.Tensor) -> torch.Tensor:
        return torch.randn(len(images), 8, generator=torch.Generator().manual_seed(next(ever_better)))

    search = Search(answer, shown(), Input(), (), [64, 96, 128, 160], lambda done, total: told.append((done, total)))
    search.best()
    assert told[-1][0] == search.forwards <= 10_000
    assert all(done <= total for done, total in told)


def test_none_of_the_photographs_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").write_text("no picture")
    with pytest.raises(ImageError, match="none of the 1 photographs"):
        read_labelled(tmp_path, ["a"], 1, config.load_settings())
