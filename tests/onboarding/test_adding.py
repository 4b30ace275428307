"""`camserve add`: what it writes, what it says, what it refuses."""

import json
import os
import tomllib
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from conftest import picture

import camserve
from camserve import config
from camserve.cli import main
from camserve.errors import ModelError, OptionError
from camserve.models.architectures.by_name import build
from camserve.models.card import Card, Input, read_card
from camserve.onboarding.new_card import card_text
from camserve.onboarding.new_model import add
from camserve.system.files import write_all

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=10):
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes)
        )
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: net.py, birds.pth of a network with three classes, birds.txt; models go into mine/."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", "mine")
    Path("net.py").write_text(NETWORK)
    wrapped = {f"module.{key}": tensor for key, tensor in build("net.py:Net", 3).state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3}, "birds.pth")
    Path("birds.txt").write_text('finch\nsparrow\n鷦鷯 "wren"\n\n', encoding="utf-8")
    picture(1).save("photo.png")
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


ADD = ("add", "birds.pth", "--architecture", "./net.py:Net", "--labels", "birds.txt", "--size", "32")


def test_what_was_found_is_said_and_the_next_command_works(desk: Path) -> None:
    result = run(*ADD)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "weights  4 tensors of birds.pth under 'state_dict', 'module.' removed from their names",
        'classes  3: finch, sparrow, 鷦鷯 "wren"',
        "layer    1, a cell every 2 pixels",
        "head     linear: explained by cam, whose map adds up to the logit",
        "input    32 x 32 RGB, crop 0.875, bicubic, mean 123.675 116.28 103.53, std 58.395 57.12 57.375",
        "assumed  the usual values for crop, mean, std, channels, resample, which are not stated; --photos FOLDER "
        "finds them",
        f"written  {Path('mine/birds/card.toml')}",
        "Next: camserve explain photo.jpg --model birds",
    ]
    explained = run("explain", "photo.png", "--model", "birds", "--json")
    assert explained.exit_code == 0, explained.output
    assert json.loads(explained.stdout)["class_name"] in ("finch", "sparrow", '鷦鷯 "wren"')
    assert "birds" in [row["name"] for row in json.loads(run("models", "--json").stdout)]


def test_the_folder_holds_all_that_the_model_needs(desk: Path) -> None:
    assert run(*ADD).exit_code == 0
    (desk / "mine").rename(desk / "elsewhere")
    for name in ("net.py", "birds.pth", "birds.txt"):
        (desk / name).unlink()
    folder = desk / "elsewhere" / "birds"
    assert sorted(path.name for path in folder.iterdir()) == ["birds.pth", "card.toml", "labels.txt", "net.py"]
    assert (folder / "labels.txt").read_text(encoding="utf-8") == 'finch\nsparrow\n鷦鷯 "wren"\n'
    model = camserve.load(folder)
    assert model.explain("photo.png").completeness is not None
    assert model.card.architecture == "net.py:Net"
    assert model.card.sha256 == model.weights_sha256
    (folder / "birds.pth").write_bytes(b"other")
    with pytest.raises(ModelError, match="'birds.pth' has sha256 .*, but the card states"):
        camserve.load(folder)


def test_every_option_of_the_input_is_written_down(desk: Path) -> None:
    options = "--size 48 --crop 1 --mean 1 2 3 --std 4 5 6 --channels BGR --resample lanczos --scores sigmoid --layer 0"
    result = run(
        "add", "birds.pth", "-a", "net.py:Net", "--name", "b.2", "--folder", "here", *options.split(), "--json"
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["card"], said["model"]) == (str(Path("here/b.2/card.toml")), str(Path("here/b.2")))
    assert said["classes"] == "3: class 0, class 1, class 2 (no names: --labels FILE)"
    card = read_card(Path("here/b.2/card.toml"))
    assert card.input == Input(
        size=48, crop=1, mean=(1, 2, 3), std=(4, 5, 6), channels="BGR", resample="lanczos"
    )  # fmt: skip
    assert (card.scores, card.layer, card.labels) == ("sigmoid", "0", None)
    assert run("explain", "photo.png", "--model", said["model"]).exit_code == 0


def test_a_key_is_written_down_and_the_other_networks_are_named(desk: Path) -> None:
    weights = build("net.py:Net", 3).state_dict()
    torch.save({"state_dict": weights, "state_dict_ema": weights}, "x.pth")
    said = json.loads(run("add", "x.pth", "-a", "net.py:Net", "--size", "32", "--json").stdout)
    assert said["weights"] == "4 tensors of x.pth under 'state_dict' (also there: 'state_dict_ema'; --key)"
    result = run("add", "x.pth", "-a", "net.py:Net", "--size", "32", "--key", "state_dict_ema", "--force", "--json")
    assert json.loads(result.stdout)["weights"].startswith("4 tensors of x.pth under 'state_dict_ema' (also there")
    assert read_card(Path("mine/x/card.toml")).key == "state_dict_ema"
    assert camserve.load("mine/x").explain("photo.png")


def test_a_head_of_one_s_own_is_made_again_and_what_was_assumed_is_said(desk: Path) -> None:
    network = build("torchvision:shufflenet_v2_x0_5")
    network.fc = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(1024, 3))
    torch.save(network.state_dict(), "x.pth")
    said = json.loads(run("add", "x.pth", "-a", "torchvision:shufflenet_v2_x0_5", "--json").stdout)
    assert said["head"].endswith("adds up to the logit; 'fc.0' has no weights and is taken for dropout")
    assert said["classes"].startswith("3: ")
    assert camserve.load("mine/x").explain("photo.png").completeness is not None


def test_torchvision_s_preprocessing_is_written_down(desk: Path) -> None:
    torch.save(build("torchvision:squeezenet1_1", 3).state_dict(), "x.pth")
    assert run("add", "x.pth", "-a", "torchvision:squeezenet1_1", "--labels", "birds.txt").exit_code == 0
    assert read_card(Path("mine/x/card.toml")).input == Input(size=224, crop=0.875, resample="bilinear")


def test_imagenet_s_class_names_are_copied(desk: Path) -> None:
    torch.save(build("torchvision:squeezenet1_1").state_dict(), "x.pth")
    assert run("add", "x.pth", "-a", "torchvision:squeezenet1_1", "--labels", "imagenet").exit_code == 0
    assert len(Path("mine/x/labels.txt").read_text().splitlines()) == 1000


def test_nothing_is_replaced_without_force(desk: Path) -> None:
    assert run(*ADD).exit_code == 0
    result = run(*ADD)
    assert result.exit_code == 4
    assert result.stderr == (
        f"camserve: '{Path('mine/birds')}' already has 'birds.pth', 'net.py', 'card.toml', 'labels.txt'; --force "
        "replaces this, --name gives another name\n"
    )
    Path("mine/birds/notes.txt").write_text("mine")
    assert run(*ADD[:-1], "40", "--force").exit_code == 0
    assert read_card(Path("mine/birds/card.toml")).input.size == 40
    assert Path("mine/birds/notes.txt").read_text() == "mine"


def test_a_folder_begun_by_hand_is_completed(desk: Path) -> None:
    own = Path("mine/birds")
    own.mkdir(parents=True)
    Path("birds.pth").rename(own / "birds.pth")
    content = (own / "birds.pth").read_bytes()
    result = run("add", own / "birds.pth", *ADD[2:])
    assert result.exit_code == 0, result.output
    assert (own / "birds.pth").read_bytes() == content
    assert (own / "card.toml").is_file()


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "a\\b", "..", ".", ".hidden", "/etc/x", "x\n", "", " ", "ü", "a" * 101, "C:x", "-x"]
)
def test_a_name_cannot_leave_its_folder(desk: Path, name: str) -> None:
    before = sorted(desk.rglob("*"))
    with pytest.raises(OptionError, match="cannot be a model's name: allowed are .*give another name with --name"):
        add(Path("birds.pth"), "net.py:Net", name=name or " ", settings=config.load_settings())
    assert sorted(desk.rglob("*")) == before


def test_the_checkpoint_s_name_is_held_to_the_same(desk: Path) -> None:
    Path("birds.pth").rename("my birds.pth")
    result = run("add", "my birds.pth", "-a", "net.py:Net")
    assert result.exit_code == 2
    assert "'my birds' cannot be a model's name" in result.stderr


def test_a_shipped_model_is_not_shadowed(desk: Path) -> None:
    result = run(*ADD, "--name", "efficientnet-lite0")
    assert result.exit_code == 2
    assert "'efficientnet-lite0' is a model that comes with camserve; give another name with --name" in result.stderr


def test_without_a_folder_of_one_s_own_one_is_asked_for(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", "")
    assert "no folder for your own models is set (models.folders); give one with --folder" in run(*ADD).stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("gone.pth", "-a", "net.py:Net"), 1, "there is no file 'gone.pth' with weights; camserve downloads none"),
        (("birds.pth", "-a", "net.py:Nett"), 1, "unknown name 'Nett'; did you mean 'Net'?"),
        (("birds.pth", "-a", "torchvision:resnet81"), 2, "unknown torchvision classifier 'resnet81'; did you mean"),
        (("birds.pth", "-a", "torchvision:alexnet"), 1, "They have no key in common: name the architecture that"),
        (("birds.pth", "-a", "net.py:Net", "--labels", "gone.txt"), 1, "cannot read the labels 'gone.txt'"),
        (("birds.pth", "-a", "net.py:Net", "--labels", "imagenet"), 1, "has 3 classes, but 1000 labels were given"),
        (("birds.pth", "-a", "net.py:Net", "--mean", "1", "2", "3"), 2, "mean and std belong together"),
        (
            ("birds.pth", "-a", "net.py:Net", "--mean", *"000", "--std", *"111", "--size", "0"),
            2,
            "size = (0,): 0 is not a size; a size is a side in pixels",
        ),
        (("birds.pth", "-a", "net"), 2, "architecture 'net' is none of: torchvision:NAME, timm:NAME"),
    ],
)
def test_what_fails_says_so_in_one_line_and_writes_nothing(
    desk: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    result = run("add", *arguments)
    assert result.exit_code == status, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("mine").exists()


def test_weights_that_are_not_finite_are_refused(desk: Path) -> None:
    network = build("net.py:Net", 3)
    torch.nn.init.constant_(network[4].bias, float("nan"))
    torch.save(network.state_dict(), "birds.pth")
    result = run(*ADD)
    assert result.exit_code == 1
    assert "with NaN: its weights are broken, or mean and std" in result.stderr


def test_any_text_survives_the_way_into_a_card_and_back() -> None:
    odd = 'quote " backslash \\ tab \t bell \x07 delete \x7f 鷦鷯 [input] # = \n new line'
    card = Card(architecture="a:b", weights=odd, source=odd, scores="sigmoid", input=Input(mean=(0.1, 1e-7, 3)))
    assert Card.model_validate(tomllib.loads(card_text(card))) == card


def test_the_default_folder_is_in_the_user_s_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert config.load_settings(environ={}).models.folders == (tmp_path / ".camserve" / "models",)


def test_a_process_without_a_home_has_no_such_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert config.load_settings(environ={}).models.folders == (Path("~/.camserve/models"),)


def test_a_file_that_cannot_be_copied_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot read .*gone"):
        write_all(tmp_path / "out", {"a": b"1", "b": tmp_path / "gone"})
    assert not list((tmp_path / "out").iterdir())


def test_a_request_names_cards_only() -> None:
    """An architecture runs code, and a path reads the disk."""
    from camserve.web.app import create_app
    from camserve.web.service import Service

    service = Service(config.settings())
    service.load()
    try:
        client = create_app(service=service).test_client()
        for name in ("torchvision:resnet18", "./net.py:Net", "os:getcwd", "../models/efficientnet-lite0"):
            answer = client.post(f"/api/v1/explain?model={name}", data=b"", content_type="image/png")
            assert (answer.status_code, answer.json["code"]) == (404, "unknown_model")
    finally:
        service.close()
