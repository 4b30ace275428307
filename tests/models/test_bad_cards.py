"""A bad card is a ModelError that says so, at every door, and hurts only itself."""

import copy
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import picture
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import camserve
from camserve.cli import main
from camserve.config import Settings, load_settings
from camserve.errors import ModelError, NotInstalled
from camserve.models.card import look_at
from camserve.models.card_files import read_labels, resolve_file
from camserve.web.app import create_app
from camserve.web.service import Service

NET = """
from torch import nn


def tiny():
    body = nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*body, nn.Linear(4, 2))
"""
GOOD: dict[str, Any] = {
    "architecture": "net.py:tiny", "weights": "tiny.pth", "labels": "labels.txt", "layer": "1", "scores": "softmax",
    "licence": "MIT", "source": "made for a test", "output": None, "key": None, "sha256": None,
    "input": {"size": 32, "crop": 0.9, "fit": 32, "channels": "RGB", "mean": [1.0, 2.0, 3.0], "std": [10.0, 20.0, 30.0],
              "resample": "bilinear", "bands": None, "shown": None},
    "placement": {"layer": "1", "offset": [0.5, 0.5]},
    "known": [{"image": "cat.png", "label": "cat", "score": 0.5}], "aliases": {"moggy": "cat"}, "arguments": None,
}  # fmt: skip


class Toml(str):
    """A value as it is written, which JSON cannot say."""


HOSTILE: list[Any] = [
    None, Toml("nan"), Toml("inf"), 0, -1, 1, 50_000, 10**9, 10**400, Toml("1" * 5000), 1e-320, 1e308, True, "", "x",
    "..", "/etc/passwd", "../../../etc/passwd", "a" * 300, "\0", "package:..x/y", "package:",
    "package:numpy/../../etc/passwd", "package:numpy//etc/passwd", "package:torch.nn/x", "package:__main__/x",
    "package:nonesuch.a/x", "package:\0/x",
    "torchvision:nonesuch", "os:getcwd", "sys:exit", "../x.py:x", "net.py:", "net.py", [], [[1]], [Toml("nan")] * 3,
    [0, 0, 0], [1e-40] * 3, [10**400] * 3, {}, {"a": {"b": 1}}, Toml("07:32:00"), Toml("[" * 2000 + "]" * 2000),
    list(range(5000)), [4095], "bands", "L", "0", "none", [32, 16], [65_535, 1], [2000, 2000],
]  # fmt: skip


def toml(value: Any) -> str:
    if isinstance(value, Toml):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def stated(card: Any) -> Any:
    """Without what is None."""
    return {key: stated(one) if isinstance(one, dict) else one for key, one in card.items() if one is not None}


def ways(card: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a card."""
    for key, value in card.items():
        yield (key,)
        inside = value[0] if key == "known" else value
        if isinstance(inside, dict):
            yield from ((key, *([0] if key == "known" else []), name) for name in inside)


def write(folder: Path, card: dict[str, Any], net: str = NET) -> Path:
    """The folder of a card with its files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net.py").write_text(net)
    (folder / "labels.txt").write_text("cat\ndog\n")
    (folder / "card.toml").write_text("".join(f"{key} = {toml(one)}\n" for key, one in stated(card).items()))
    if not (folder / "tiny.pth").exists():
        made: dict[str, Any] = {}
        exec(NET, made)
        torch.manual_seed(0)
        torch.save(made["tiny"]().state_dict(), folder / "tiny.pth")
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of cards, with a good one."""
    write(tmp_path / "cards" / "good", GOOD)
    return tmp_path / "cards"


def settings_of(home: Path, **models: Any) -> Settings:
    return load_settings(environ={}, overrides={"models": {"folders": [home], **models}})


@pytest.mark.filterwarnings("error")
def test_a_card_with_any_value_loads_or_is_a_model_error(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    chosen, image = settings_of(home), np.asarray(picture(4, (40, 24)))

    def holds(way: tuple[Any, ...], value: Any) -> None:
        card = inside = copy.deepcopy(GOOD)
        for key in way[:-1]:
            inside = inside[key]
        inside[way[-1]] = value
        path = (
            write(
                home / "good",
                {**card, "known": [stated(one) for one in card["known"]]}
                if way[0] != "known" or len(way) > 1
                else card,
            )
            / "card.toml"
        )
        look_at(path, chosen.models)
        try:
            model = camserve.load(path, settings=chosen)
            samples = model.card.input.samples
            model.explain(image if samples == 3 else np.repeat(image[..., :1], samples, 2), size="crop").to_dict()
        except ModelError as error:
            assert "\n" not in str(error)

    for way in ways(GOOD):
        holds(way, None)
    values = st.one_of(
        st.sampled_from(HOSTILE), st.integers(-9, 9**20), st.floats(allow_nan=False, allow_infinity=False)
    )
    briefly = settings(max_examples=250, deadline=None, derandomize=True, database=None)
    briefly(given(st.sampled_from(list(ways(GOOD))), values)(holds))()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("std", [Toml("nan")] * 3, "input.std.0 = nan: should be a finite number"),
        ("std", 0, "input.std.0 = 0: should be greater than"),
        ("mean", Toml("inf"), "input.mean.0 = inf: should be a finite number"),
        ("size", 50_000, "size: the network's input would be 50000 x 50000 pixels; allowed are 4 megapixels"),
        ("size", 10**9, "input.size = 1000000000: 1000000000 is not a size; .* of at most 65535"),
        ("crop", 1e-320, "input.crop = 1e-320: should be greater than or equal to 0.01"),
        ("crop", True, "input.crop = True: true and false are not allowed here"),
        ("fit", 60_000, "fit: the network's input would be 60000 x 60000 pixels"),
        ("bands", [10**9], "input.bands.0 = 1000000000: should be less than 4096"),
    ],
)
def test_absurd_numbers_of_an_input_are_named(home: Path, key: str, value: Any, said: str) -> None:
    write(home / "good", {**GOOD, "input": {**GOOD["input"], key: value}})
    with pytest.raises(ModelError, match=rf"the card '.*card\.toml' is wrong: {said}"):
        camserve.load(home / "good")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("weights", "package:..x/y", "weights = 'package:..x/y' should be package:NAME/path"),
        ("weights", "package:numpy/../../x", "should be package:NAME/path, a file inside an installed package"),
        ("weights", "package:numpy/x", "the package 'numpy' has no such file"),
        ("weights", "a" * 300, "needs the file '.*a+', which does not exist"),
        ("weights", "\0", "weights = .* is not a file that this card may read"),
        ("weights", "", "needs the file"),
        (
            "weights",
            "/etc/passwd",
            "weights = '/etc/passwd' is not a file that this card may read; allowed are files",
        ),
        ("labels", "../../../etc/passwd", "labels = .* is not a file that this card may read"),
        ("labels", "link.txt", "labels = 'link.txt' is not a file that this card may read"),
        ("labels", "pipe", "needs the file .*pipe"),
        ("architecture", "../../net.py:tiny", "architecture = '../../net.py' is not a file that this card may read"),
        ("architecture", "torchvision:nonesuch", "unknown torchvision classifier 'nonesuch'"),
        ("layer", "nowhere", "unknown layer 'nowhere'"),
        ("output", "nowhere", "output 'nowhere': the network answers with a tensor"),
    ],
)
def test_names_that_are_no_names_are_said(home: Path, key: str, value: str, said: str) -> None:
    (home.parent / "secret.txt").write_text("not\nfor you\n")
    (home.parent / "net.py").write_text(NET)
    (home / "good" / "link.txt").symlink_to(home.parent / "secret.txt")
    os.mkfifo(home / "good" / "pipe")
    write(home / "good", {**GOOD, key: value})
    with pytest.raises(ModelError, match=said):
        camserve.load("good", settings=settings_of(home))


def test_what_a_card_may_read_beside_its_folder_is_the_operator_s_choice(home: Path) -> None:
    weights, labels = home.parent / "weights", home / "both.txt"
    weights.mkdir()
    shutil.move(home / "good" / "tiny.pth", weights / "tiny.pth")
    labels.write_text("a\nb\n")
    (home / "good" / "tiny.pth").symlink_to(weights / "tiny.pth")
    write(home / "good", {**GOOD, "labels": "../both.txt", "aliases": {}})  # directly beside the folder
    with pytest.raises(
        ModelError, match=r"weights = 'tiny\.pth' is not a file .* a folder of the setting models\.shared"
    ):
        camserve.load("good", settings=settings_of(home))
    assert camserve.load("good", settings=settings_of(home, shared=[weights])).labels == ("a", "b")
    assert camserve.load("good", settings=settings_of(home, shared=["/"])).labels == ("a", "b")


def test_a_package_that_is_missing_is_no_fault_of_the_card(home: Path) -> None:
    with pytest.raises(
        NotInstalled, match="needs the package 'nonesuch', which is not installed: pip install nonesuch"
    ):
        resolve_file("package:nonesuch/x", home / "good" / "card.toml")
    path = write(home / "good", {**GOOD, "weights": "package:nonesuch/x"}) / "card.toml"
    assert look_at(path, settings_of(home).models)[1:] == (False, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weight: weight.to(torch.int64), "'0.weight' is int64 and should be float32"),
        (lambda weight: weight * 1j, "'0.weight' is complex64 and should be float32"),
        (lambda weight: weight > 0, "'0.weight' is bool and should be float32"),
        (lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8), "'0.weight' is qint8"),
        (lambda weight: weight * float("nan"), "answers an ordinary picture with NaN"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*quantize")
def test_weights_of_another_kind_are_not_cast(home: Path, change: Any, said: str) -> None:
    state = torch.load(home / "good" / "tiny.pth")
    torch.save(
        {key: change(one) if key == "0.weight" else one for key, one in state.items()}, home / "good" / "tiny.pth"
    )
    with pytest.raises(ModelError, match=said):
        camserve.load(home / "good")


def test_weights_of_another_precision_are_taken(home: Path) -> None:
    state = torch.load(home / "good" / "tiny.pth")
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        torch.save({key: one.to(kind) for key, one in state.items()}, home / "good" / "tiny.pth")
        assert camserve.load(home / "good").labels == ("cat", "dog")


def test_labels_end_at_line_ends_only(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("a\u2028b\r\nc\x0cd\re\x85f\x1cg\n\n h \n\n".encode())
    assert read_labels(tmp_path / "labels.txt") == ("a\u2028b", "c\x0cd", "e\x85f\x1cg", "", "h")
    (tmp_path / "labels.txt").write_bytes(b"\n")
    assert read_labels(tmp_path / "labels.txt") == ()


BASE = """
import sys
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3, 2), nn.Linear(4, 2)
        {made}

    def forward(self, x):
        y = self.fc(self.conv(x).relu().mean((2, 3)))
        {answer}
"""
RAISES = {
    "raise RecursionError('deep')": "deep", "raise MemoryError('no room')": "no room", "sys.exit('bye')": "bye",
    "raise KeyError('a\\nb')": "a", "raise type('Evil', (Exception,), {'__str__': lambda self: 1 / 0})()": "Evil",
    "torch.zeros(-1)": "Dimension size must be non-negative",
}  # fmt: skip


@pytest.mark.parametrize(("line", "said"), RAISES.items())
@pytest.mark.parametrize("where", ["made", "answer"])
def test_a_network_that_raises_anything_is_a_model_error(home: Path, where: str, line: str, said: str) -> None:
    code = {"made": "", "answer": "return y"} | {where: line}
    net = BASE.replace("{made}", code["made"]).replace("{answer}", code["answer"])
    write(home / "good", {"architecture": "net.py:Net", "input": {"size": 32}}, net)
    with pytest.raises(ModelError, match=said):
        camserve.load(home / "good")


@pytest.mark.parametrize(
    "answer",
    [
        "()",
        "None",
        "'cat'",
        "5",
        "y * float('nan')",
        "torch.empty(0)",
        "y[:, :0]",
        "y[:0]",
        "y.int()",
        "y * 1j",
        "object",
    ],
)
def test_a_network_that_answers_nonsense_is_a_model_error(home: Path, answer: str) -> None:
    net = BASE.replace("{made}", "").replace("{answer}", f"return {answer}")
    write(home / "good", {"architecture": "net.py:Net", "input": {"size": 32}}, net)
    with pytest.raises(ModelError, match="the network (answers|fails)"):
        camserve.load(home / "good")


def test_a_network_that_fails_at_some_pictures_is_a_model_error() -> None:
    class Moody(nn.Sequential):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x) if x.mean() > -1.5 else {}["dark"]

    body = (nn.Conv2d(3, 4, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model = camserve.load(Moody(*body), size=32)
    with pytest.raises(ModelError, match=r"fails on an input of .* pixels: KeyError: 'dark'"):
        model.explain(np.zeros((32, 32, 3), np.uint8))


@pytest.fixture
def bad(home: Path) -> Path:
    """The folder of cards, with bad ones beside the good one."""
    for number, (key, value) in enumerate(
        {"weights": "package:..x/y", "labels": "a" * 300, "scores": Toml("nan")}.items()
    ):
        write(home / f"bad{number}", {**GOOD, key: value})
    write(home / "[odd]\x1b", {**GOOD, "licence": "[/x]\x1b"})
    (home / "pipe").mkdir()
    os.mkfifo(home / "pipe" / "card.toml")
    (home / "loop").symlink_to("loop")
    (home / os.fsdecode(b"\xff")).mkdir()
    (home / os.fsdecode(b"\xff") / "card.toml").write_text("a = " + "[" * 5000)
    return home


def test_the_command_lists_bad_cards_with_their_error(bad: Path) -> None:
    environ = {"CAMSERVE_MODELS_FOLDERS": str(bad)}
    listed = json.loads(CliRunner().invoke(main, ["models", "--json"], env=environ).stdout)
    errors = {row["name"]: row["error"] for row in listed}
    assert {name for name, error in errors.items() if not error} >= {"good", "[odd]\x1b", "efficientnet-lite0"}
    assert {name for name, error in errors.items() if error} == {"bad0", "bad1", "bad2", "pipe", "loop", "\\xff"}
    assert all("\n" not in (error or "") for error in errors.values())
    shown = CliRunner().invoke(main, ["models"], env=environ)
    assert shown.exit_code == 0
    assert "bad0: the card" in shown.output and "\x1b" not in shown.output
    checked = CliRunner().invoke(main, ["models", "--check", "--json"], env=environ)
    assert checked.exit_code == 1
    assert "should be package:NAME/path" in next(
        r["actual"] for r in json.loads(checked.stdout) if r["model"] == "bad0"
    )


def test_the_service_lists_bad_cards_with_their_error_and_no_path(bad: Path) -> None:
    service = Service(settings_of(bad))
    client = create_app(service=service).test_client()
    listed = {one["name"]: one for one in client.get("/api/v1/models").get_json()["models"]}
    assert listed["good"]["available"] and "error" not in listed["good"]
    assert listed["bad0"]["error"].startswith("the card 'bad0/card.toml' is wrong: weights = 'package:..x/y'")
    assert not listed["bad0"]["available"]
    assert not any(str(bad.parent) in one.get("error", "") for one in listed.values())
    for path in ("/v1/models", "/v2/models"):
        assert {"good", "bad0", "\\xff"} <= set(client.get(path).get_json()["models"])
    page = client.get("/", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "<option disabled" in page.text and ">bad0: the card" in page.text


def test_a_folder_of_cards_that_cannot_be_read_is_listed_with_its_error(home: Path) -> None:
    long, file = home / ("a" * 300), home / "file"
    file.write_text("")
    chosen = load_settings(environ={}, overrides={"models": {"folders": [home, long, file, home / "gone"]}})
    listed = {
        name: look_at(path, chosen.models) for name, path in camserve.models.card.find_cards(chosen.models).items()
    }
    assert listed["good"].available
    assert listed["a" * 300].error is not None and "File name too long" in listed["a" * 300].error
    assert "file" not in listed and "gone" not in listed
