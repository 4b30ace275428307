"""Cards, modules and what becomes of them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import picture
from torch import nn

import camserve
from camserve import config
from camserve.errors import ModelError, ModelNotFound, OptionError, UnknownName
from camserve.models import card as cards
from camserve.onboarding.known_answers import check_known_answers


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"])
def test_known_answers_hold(name: str) -> None:
    checks = list(check_known_answers(camserve.load(name)))
    assert checks
    assert all(check.holds for check in checks), checks


def test_a_wrong_mean_is_noticed_by_the_known_answers(tmp_path: Path) -> None:
    card = write_card(tmp_path, mean="[123.675, 116.28, 103.53]", std="[58.395, 57.12, 57.375]")
    assert not all(check.holds for check in check_known_answers(camserve.load(card)))


def write_card(tmp_path: Path, **changes: str) -> Path:
    """A copy of the embedded model's card, with lines of it changed."""
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(config.shipped("models") / "imagenet.txt", tmp_path / "imagenet.txt")
    text = (config.shipped("models") / "efficientnet-lite0" / "card.toml").read_text()
    lines = []
    for line in text.splitlines():
        key = line.partition(" = ")[0]
        lines.append(f"{key} = {changes.pop(key)}" if key in changes else line)
    assert not changes
    (folder / "card.toml").write_text("\n".join(lines))
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": '"00"'}, "has sha256 5793.*but the card states '00': the file is damaged or a different one"),
        ({"weights": '"package:nowhere/x.pth"'}, "needs the package 'nowhere', which is not installed: pip"),
        ({"weights": '"gone.pth"'}, "needs the file '.*gone.pth', which does not exist"),
        ({"architecture": '"camserve.nets:efficientnet_lite1"'}, "does not fit .*160 keys are of another shape"),
        ({"architecture": '"camserve.nets:nonesuch"'}, "cannot make architecture 'camserve.nets:nonesuch'"),
        ({"architecture": '"pathlib:Path"'}, "made a PosixPath, not an nn.Module"),
        (
            {"mean": "[0.485, 0.456, 0.406]", "std": "[0.229, 0.224, 0.225]"},
            "units of 0..1.*multiply both by 255",
        ),
        ({"size": '"large"'}, r"input\.size = 'large': 'large' is not a size"),
        ({"labels": '"../gone.txt"'}, "needs the file"),
        ({"layer": '"haed"'}, "unknown layer 'haed'; did you mean 'head'"),
    ],
)
def test_a_card_that_is_wrong_says_where(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    folder = write_card(tmp_path, **changes)
    with pytest.raises(camserve.CamserveError, match=message):
        camserve.load(folder)


def test_a_card_is_found_by_name_folder_or_file(tmp_path: Path) -> None:
    folder = write_card(tmp_path)
    settings = config.load_settings(overrides={"models": {"folders": [str(tmp_path)]}}, environ={})
    for source in (folder, folder / "card.toml", str(folder)):
        assert camserve.load(source).name == "mine"
    assert camserve.load("mine", settings=settings).name == "mine"
    assert list(cards.find_cards(settings.models)) == [
        "mine", "efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2",
    ]  # fmt: skip


def test_an_unknown_model_names_close_ones() -> None:
    with pytest.raises(ModelNotFound, match="unknown model 'efficientnet-lite'; did you mean 'efficientnet-lite"):
        camserve.load("efficientnet-lite")


def test_weights_that_are_a_program_are_not_run(tmp_path: Path) -> None:
    import os

    class Evil:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return os.mkdir, (str(tmp_path / "pwned"),)

    folder = write_card(tmp_path, weights='"evil.pth"', sha256='"PUT"')
    torch.save({"x": Evil()}, folder / "evil.pth")
    card = folder / "card.toml"
    card.write_text(card.read_text().replace('sha256 = "PUT"\n', ""))
    with pytest.raises(ModelError, match=r"cannot load 'evil\.pth'"):
        camserve.load(folder)
    assert not (tmp_path / "pwned").exists()


def small_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout2d(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


def test_a_module_of_the_user_s_is_never_touched() -> None:
    net = small_net().train()
    net[0].weight.requires_grad_(False)
    net[6](torch.ones(1, 8)).sum().backward()
    gradient = net[6].weight.grad
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    model = camserve.load(net, size=32)
    model.explain(picture(), method="gradcam", layer="0")
    with pytest.raises(camserve.CamserveError):
        model.explain(picture(), target=99)
    assert net.training
    assert all(module.training for module in net.modules())
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True, True, True]
    assert net[6].weight.grad is gradient
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())


def test_after_a_call_that_raises_the_model_answers_as_before(model: camserve.Model, cat: Path) -> None:
    before = model.explain(cat, method="gradcam", layer="blocks.3").map
    for options in ({"target": 99_999}, {"method": "cam", "layer": "blocks.3"}, {"layer": "nowhere"}):
        with pytest.raises(OptionError):
            model.explain(cat, **options)
    graph = model.module
    assert not any(module._forward_hooks or module._backward_hooks for module in graph.modules())
    assert not any(module.training for module in graph.modules() if module is not graph)
    assert all(p.grad is None and not p.requires_grad for p in graph.parameters())
    assert np.array_equal(model.explain(cat, method="gradcam", layer="blocks.3").map, before)


def test_a_module_is_a_snapshot_that_later_training_does_not_reach() -> None:
    net = small_net()
    model = camserve.load(net, size=32)
    before = model.explain(picture()).map
    with torch.no_grad():
        net[6].weight.mul_(2)
    assert np.array_equal(model.explain(picture()).map, before)
    assert not np.array_equal(camserve.load(net, size=32).explain(picture()).map, before)


def test_a_module_s_hash_follows_its_weights() -> None:
    net = small_net()
    first, again = camserve.load(net, size=32), camserve.load(net, size=32)
    assert first.weights_sha256 == again.weights_sha256
    with torch.no_grad():
        net[6].weight.mul_(2)
    assert camserve.load(net, size=32).weights_sha256 != first.weights_sha256


@pytest.mark.parametrize(
    ("name", "layer", "head"),
    [
        ("resnet18", "layer4", "linear"),
        ("mobilenet_v2", "features", "linear"),
        ("alexnet", "features", "general"),
    ],
)
def test_the_layer_is_found_by_itself(name: str, layer: str, head: str) -> None:
    model = camserve.load(torchvision.models.get_model(name, weights=None))
    assert model.default_layer == layer
    assert model.layer().head.kind == head


def test_labels_must_be_as_many_as_classes() -> None:
    with pytest.raises(ModelError, match="'Sequential' has 3 classes, but 2 labels were given"):
        camserve.load(small_net(), size=32, labels=["a", "b"])
    model = camserve.load(small_net(), size=32, labels=["a", "b", "c"])
    assert model.explain(picture(), target="b").class_index == 1


def test_input_options_belong_to_modules() -> None:
    with pytest.raises(OptionError, match="size: the card states this itself"):
        camserve.load("efficientnet-lite0", size=100)
    with pytest.raises(OptionError, match="colour_order"):
        camserve.load(small_net(), colour_order="BGR")


def test_names_of_no_layer_leave_nothing_behind(model: camserve.Model) -> None:
    for number in range(3):
        with pytest.raises(UnknownName):
            model.layer(f"nowhere{number}")
    assert not model._layers.in_the_making


def test_a_network_that_is_no_classifier_is_a_clear_error() -> None:
    with pytest.raises(ModelError, match=r"answers with shape \(N, 4, 2, 2\)"):
        camserve.load(nn.Sequential(nn.Conv2d(3, 4, 16, 16)), size=32)


def test_only_a_few_layers_are_kept_ready(model: camserve.Model, cat: Path) -> None:
    for block in range(2, 13):
        model.explain(cat, layer=f"blocks.{block}")
    assert len(model._layers) <= 8


def test_the_offset_is_the_measured_or_the_centred_one_and_follows_the_size(model: camserve.Model) -> None:
    """At 224 the 7 cells of stride 32 are centred at 15.5; SAME padding moves them as the field's start moves.

    The starts of EfficientNet-Lite0, 31 at 224, 15 at 240, 10 at 299 and 31 at 320, are known values.
    """
    layer, measured = model.layer(), model.card.placement
    assert measured is not None
    for side, start in ((224, 31), (240, 15), (299, 10), (320, 31)):
        frame = model.frame((side, side), size=side)
        cells = -(-side // 32)
        placement = layer.placement(frame, (cells, cells), centred=True)
        assert placement.stride == (32, 32)
        assert placement.offset == (15.5 + start - 31,) * 2
        calibrated = layer.placement(frame, (cells, cells))
        assert calibrated.offset == pytest.approx([offset + start - 31 for offset in measured.offset])


@pytest.mark.parametrize("size", ["9" * 5000, "9" * 400, 10**400, 10**6, "0", True])
def test_a_size_that_is_none_is_refused_however_long(model: camserve.Model, size: str | int) -> None:
    with pytest.raises(OptionError, match="fit, crop, native") as failure:
        model.frame((640, 480), size)
    assert len(str(failure.value)) < 300
