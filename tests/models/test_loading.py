"""What `load` takes besides cards and modules: architectures with weights, their classes, labels and input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import picture
from torch import nn

import camserve
from camserve.config import shipped
from camserve.errors import ModelError, OptionError, UnknownName
from camserve.models.architectures.by_name import build
from camserve.models.card import Input

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=10):
        super().__init__(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

def fixed():
    return Net()
"""
BIRDS = ["finch", "sparrow", "wren"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: net.py, birds.pth of a network with three classes, birds.txt."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    torch.save({"state_dict": build("net.py:Net", 3).state_dict()}, "birds.pth")
    Path("birds.txt").write_text("finch\nsparrow\nwren\n\n")
    return tmp_path


def test_an_architecture_with_weights_and_labels_is_a_model(folder: Path) -> None:
    model = camserve.load("./net.py:Net", weights="birds.pth", labels="birds.txt", size=32)
    assert (model.name, list(model.labels), model.card.input.size) == ("birds", BIRDS, 32)
    explanation = model.explain(picture(), target="wren")
    assert explanation.completeness is not None
    assert explanation.provenance()["model"]["card"]["weights"] == "birds.pth"
    trained = build("net.py:Net", 3)
    trained.load_state_dict(torch.load("birds.pth", weights_only=True)["state_dict"])
    same = camserve.load(trained, size=32).explain(picture(), target=2)
    assert np.array_equal(explanation.map, same.map)
    assert np.array_equal(explanation.logits, same.logits)


@pytest.mark.parametrize("labels", [None, BIRDS, "birds.txt", Path("birds.txt")])
def test_the_number_of_classes_is_the_checkpoint_s(folder: Path, labels: Any) -> None:
    model = camserve.load("./net.py:Net", weights=Path("birds.pth"), labels=labels, size=32)
    assert list(model.labels) == (["class 0", "class 1", "class 2"] if labels is None else BIRDS)


@pytest.mark.parametrize(
    "beside",
    [
        {"classes": BIRDS},
        {"class_names": tuple(BIRDS)},
        {"class_to_idx": {"wren": 2, "finch": 0, "sparrow": 1}},
        {"idx_to_class": {2: "wren", 0: "finch", 1: "sparrow"}},
        {"id2label": {"0": "finch", "1": "sparrow", "2": "wren"}},
        {"meta": {"categories": BIRDS}},
        {"labels": None, "args": {"label_names": BIRDS}},
    ],
)
def test_a_checkpoint_s_own_names_hold_where_nobody_gives_others(folder: Path, beside: dict[str, Any]) -> None:
    torch.save({**torch.load("birds.pth"), **beside}, "birds.pth")
    assert list(camserve.load("./net.py:Net", weights="birds.pth", size=32).labels) == BIRDS
    given = camserve.load("./net.py:Net", weights="birds.pth", labels=["a", "b", "c"], size=32)
    assert given.labels == ("a", "b", "c")


@pytest.mark.parametrize(
    "beside", [{"classes": ["a", "b"]}, {"classes": {"a": 1, "b": 2, "c": 3}}, {"labels": [None] * 3}, {"classes": 3}]
)
def test_names_in_a_checkpoint_that_do_not_fit_are_left(folder: Path, beside: dict[str, Any]) -> None:
    torch.save({**torch.load("birds.pth"), **beside}, "birds.pth")
    assert camserve.load("./net.py:Net", weights="birds.pth", size=32).labels[2] == "class 2"


def test_a_key_chooses_between_the_networks_of_a_file(folder: Path) -> None:
    weights = torch.load("birds.pth", weights_only=True)["state_dict"]
    torch.save({"generator": {key: 0 * one for key, one in weights.items()}, "critic": weights}, "both.pth")
    with pytest.raises(ModelError, match="holds several state dicts: 'generator', 'critic'; say which one with key"):
        camserve.load("./net.py:Net", weights="both.pth", size=32)
    chosen = camserve.load("./net.py:Net", weights="both.pth", key="critic", size=32)
    expected = camserve.load("./net.py:Net", weights="birds.pth", size=32)
    assert np.array_equal(chosen.explain(picture()).logits, expected.explain(picture()).logits)
    assert chosen.card.key == "critic"
    Path("both").mkdir()
    Path("both/card.toml").write_text(
        'architecture = "../net.py:Net"\nweights = "../both.pth"\nkey = "critic"\n[input]\nsize = 32\n'
    )
    assert camserve.load("both").explain(picture()).logits == pytest.approx(
        expected.explain(picture()).logits, abs=1e-5
    )


def test_labels_that_disagree_with_the_checkpoint_are_counted(folder: Path) -> None:
    with pytest.raises(ModelError, match="'birds' has 3 classes, but 2 labels were given"):
        camserve.load("./net.py:Net", weights="birds.pth", labels=["a", "b"], size=32)


def test_a_factory_of_a_fixed_number_of_classes_says_so(folder: Path) -> None:
    with pytest.raises(
        ModelError, match=r"'birds.pth' does not fit './net.py:fixed': 2 keys are of another shape.*let t"
    ):
        camserve.load("./net.py:fixed", weights="birds.pth", size=32)


def test_imagenet_s_labels_come_along(folder: Path) -> None:
    names = (shipped("models") / "imagenet.txt").read_text().splitlines()
    assert list(camserve.load("./net.py:Net", labels="imagenet", size=32).labels) == names
    Path("imagenet").write_text("mine\n")
    assert camserve.load("./net.py:Net", labels="imagenet", size=32).labels == ("mine",)


def test_torchvision_s_own_preprocessing_holds_where_nothing_else_is_said(folder: Path) -> None:
    torch.save(build("torchvision:squeezenet1_1", 3).state_dict(), "x.pth")
    model = camserve.load("torchvision:squeezenet1_1", weights="x.pth", crop=1.0)
    assert model.card.input == Input(size=224, crop=1, resample="bilinear")
    torch.save(build("torchvision:inception_v3", 3).state_dict(), "x.pth")
    assert camserve.load("torchvision:inception_v3", weights="x.pth").card.input.size == 299


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "gone.pth"}, "there is no file 'gone.pth' with weights; camserve downloads none"),
        ({"labels": "gone.txt"}, "cannot read the labels 'gone.txt': No such file or directory"),
        ({"labels": "birds.pth"}, "the labels 'birds.pth' must be UTF-8 text"),
        ({"mean": (1, 2, 3)}, "mean and std belong together: give both, in units of 0..255"),
        ({"std": (1, 2, 3)}, "mean and std belong together"),
        ({"mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}, "look like units of 0..1.*multiply both by 255"),
        ({"chanels": "BGR"}, "unknown option of load 'chanels'; did you mean 'channels'"),
        ({"channels": "GBR"}, "channels = .*: should be 'RGB', 'BGR', 'L' or 'bands'"),
        ({"weights": None, "key": "ema"}, "key 'ema' says which part of a file of weights is meant: give weights, too"),
        ({"scores": "argmax"}, "scores = .*: should be 'softmax', 'sigmoid', 'none' or 'embedding'"),
    ],
)
def test_a_wrong_option_is_named(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(camserve.CamserveError, match=message):
        camserve.load("./net.py:Net", **{"weights": "birds.pth", **options})


def test_a_card_and_a_module_say_for_themselves_what_they_are(folder: Path) -> None:
    wrong: list[dict[str, Any]] = [{"weights": "birds.pth"}, {"scores": "sigmoid"}]
    for options in wrong:
        with pytest.raises(
            OptionError, match=f"{next(iter(options))}: the card states this itself; only an nn.Module or an"
        ):
            camserve.load("efficientnet-lite0", **options)
    with pytest.raises(OptionError, match="weights: a module has its own; module.load_state_dict puts others into it"):
        camserve.load(build("net.py:Net"), weights="birds.pth")


@pytest.mark.parametrize("source", ["efficientnet-lite0", "./net.py:Net"])
def test_settings_given_as_options_are_said_where_they_belong(folder: Path, source: str) -> None:
    """And what the error and docs/speed.md say to write works."""
    compute = {"engine": "torch"}
    with pytest.raises(OptionError) as refused:
        camserve.load(source, compute=compute)
    said = "load(..., settings=camserve.config.load_settings(overrides={'compute': {'engine': 'torch'}}))"
    assert str(refused.value) == f"'compute' is a section of the settings and no option of load; give them as {said}"
    model = camserve.load(source, settings=camserve.config.load_settings(overrides={"compute": compute}))
    assert model.settings.compute.engine == "torch"


def test_scores_of_a_multi_label_head_are_each_for_itself(folder: Path) -> None:
    model = camserve.load("./net.py:Net", weights="birds.pth", scores="sigmoid", size=32)
    explanation = model.explain(picture(), size="crop")
    assert explanation.scores == pytest.approx(1 / (1 + torch.tensor(explanation.logits).neg().exp()), abs=1e-6)


def test_a_network_without_weights_says_in_every_explanation_that_it_is_untrained(folder: Path) -> None:
    warning = (
        "no weights were given for 'torchvision:squeezenet1_1', so the network is untrained and the picture means "
        "nothing: load it with weights=FILE"
    )
    assert camserve.load("torchvision:squeezenet1_1").explain(picture()).warnings[0] == warning
    torch.save(build("torchvision:squeezenet1_1", 3).state_dict(), "x.pth")
    own = camserve.load("torchvision:squeezenet1_1", weights="x.pth"), camserve.load("./net.py:Net", size=32)
    assert not any("untrained" in text for model in own for text in model.explain(picture()).warnings)


def test_an_unknown_name_of_torchvision_names_close_ones() -> None:
    with pytest.raises(UnknownName, match="unknown torchvision classifier 'resnet81'; did you mean 'resnet18'"):
        camserve.load("torchvision:resnet81")


def card(folder: Path, text: str) -> Path:
    path = folder / "birds" / "card.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    (folder / "birds.pth").rename(path.parent / "birds.pth")
    (folder / "net.py").rename(path.parent / "net.py")
    return path.parent


def test_a_card_names_a_file_beside_it(folder: Path) -> None:
    own = card(folder, 'architecture = "net.py:Net"\nweights = "birds.pth"\n[input]\nsize = 32\n')
    assert camserve.load(own).explain(picture()).head
    assert len(camserve.load(own, labels=folder / "birds.txt").labels) == 3


def test_a_card_s_open_fields_are_the_architecture_s_own(folder: Path) -> None:
    own = card(folder, 'architecture = "torchvision:efficientnet_b1"\n[input]\ncrop = 0.5\n')
    assert camserve.load(own).card.input == Input(size=240, crop=0.5, resample="bilinear")


def test_a_card_s_hash_is_checked(folder: Path) -> None:
    own = card(folder, 'architecture = "net.py:Net"\nweights = "birds.pth"\nsha256 = "00"\n[input]\nsize = 32\n')
    with pytest.raises(ModelError, match="'birds.pth' has sha256 .*, but the card states '00': the file is damaged or"):
        camserve.load(own)


def test_an_empty_module_is_not_taken_for_no_module() -> None:
    with pytest.raises(ModelError):
        camserve.load(nn.Sequential())


def test_what_makes_a_model_is_no_model() -> None:
    with pytest.raises(OptionError, match="is not a model, but it may make one: call it; allowed are a card's name"):
        camserve.load(torchvision.models.resnet18)
    with pytest.raises(OptionError, match="3 is not a model; allowed are"):
        camserve.load(3)  # type: ignore[arg-type]


def test_numpy_s_numbers_are_indices_and_words_are_no_switches(model: camserve.Model) -> None:
    explanation = model.explain(picture(2), target=np.int64(5))
    assert explanation.class_index == 5
    with pytest.raises(OptionError, match="sharp 'no' is neither True nor False"):
        model.explain(picture(2), sharp="no")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="neither a whole number nor text"):
        model.explain(picture(2), target=np.array([1, 2]))
