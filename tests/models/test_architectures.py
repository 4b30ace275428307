"""Architectures by name: what is made, with how many classes, for which input; and what cannot be made, in words."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

import camserve
from camserve.errors import ModelError, UnknownName
from camserve.models.architectures.by_name import brought_along, build
from camserve.models.architectures.forms import is_architecture

NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes=4):
        super().__init__(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))

    @classmethod
    def small(cls):
        return cls(2)

def fixed():
    return Net()

def open_ended(**options):
    return Net(**options)

def deep(depth):
    return Net()

def broken():
    return nn.Conv2d(3, 8, 3)(1)

def exits():
    raise SystemExit("usage: train.py DATA")

ready = Net(7)
number = 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path


class WithoutMemory(TorchFunctionMode):
    """Parameters are made without memory and without drawing random numbers: all of torchvision in seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {**(kwargs or {}), "device": "meta"} if func is torch.empty else kwargs or {}
        return func(*args, **kwargs)


def test_every_classifier_of_torchvision_is_made_for_any_number_of_classes() -> None:
    from torchvision import models

    names = models.list_models(module=models)
    assert len(names) >= 80
    with WithoutMemory():
        for name in names:
            network = build(f"torchvision:{name}", 7)
            assert 7 in {tensor.shape[0] for tensor in network.parameters()}, name


@pytest.mark.parametrize(
    ("architecture", "size", "crop", "resample"),
    [
        ("torchvision:resnet18", 224, 224 / 256, "bilinear"),
        ("torchvision:inception_v3", 299, 299 / 342, "bilinear"),
        ("torchvision:efficientnet_b3", 300, 300 / 320, "bicubic"),
        ("torchvision:vit_h_14", 518, 1, "bicubic"),
    ],
)
def test_torchvision_says_what_input_it_was_made_for(architecture: str, size: int, crop: float, resample: str) -> None:
    assert brought_along(architecture).input == {
        "size": size, "crop": crop, "resample": resample,
        "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375),
    }  # fmt: skip


def test_every_default_of_torchvision_is_a_legal_input() -> None:
    from torchvision import models

    from camserve.models.card import Input

    for name in models.list_models(module=models):
        assert Input(**brought_along(f"torchvision:{name}").input).size >= 224


def test_a_vision_transformer_takes_the_size_it_is_said_to_take() -> None:
    with WithoutMemory():
        assert build("torchvision:vit_h_14").image_size == 518


def test_inception_answers_with_logits_alone_and_prepares_its_input_as_its_weights_expect() -> None:
    network = build("torchvision:inception_v3", 3).eval()
    assert network.transform_input
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 299, 299)).shape == (1, 3)


def test_making_a_network_draws_no_random_number_of_the_caller_s() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build("torchvision:squeezenet1_1")
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("name", "classes", "made"),
    [
        ("Net", None, 4),
        ("Net", 3, 3),
        ("Net.small", 3, 2),
        ("fixed", 3, 4),
        ("open_ended", 3, 3),
        ("ready", 3, 7),
    ],
)
def test_a_factory_gets_the_number_of_classes_where_it_takes_one(
    folder: Path, name: str, classes: int | None, made: int
) -> None:
    network = build(f"./net.py:{name}", classes, folder=folder)
    assert isinstance(network, nn.Sequential)
    assert network[3].out_features == made


def test_options_that_a_factory_hands_on_are_not_forced_on_it() -> None:
    assert build("torchvision.models:resnet18", 3).fc.out_features == 3
    assert isinstance(build("torch.nn:Flatten", 3), nn.Flatten)


def test_a_file_is_read_anew_and_two_of_one_name_do_not_meet(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "net.py").write_text(NETWORK.replace("num_classes=4", "num_classes=9"))
    assert [build("net.py:Net", folder=place)[3].out_features for place in (folder, other)] == [4, 9]
    (folder / "net.py").write_text(NETWORK.replace("num_classes=4", "num_classes=6"))
    assert build("net.py:Net", folder=folder)[3].out_features == 6
    assert "net" not in sys.modules


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ("torchvision:resnet81", "unknown torchvision classifier 'resnet81'; did you mean 'resnet18'"),
        ("torchvision:ResNet18", "unknown torchvision classifier 'ResNet18'; did you mean 'resnet18'"),
        ("nowhere.net:Net", "cannot make architecture 'nowhere.net:Net': ModuleNotFoundError: No module named "
         "'nowhere'; install it, or name a file that needs nothing beside it, as in ./net.py:Net"),
        ("gone.py:Net", "cannot make architecture 'gone.py:Net': there is no file"),
        ("net.py:Nett", "cannot make architecture 'net.py:Nett': unknown name 'Nett'; did you mean 'Net'? "
         "Known: Net, fixed, open_ended, deep, broken, exits"),
        ("net.py:deep", "missing 1 required positional argument: 'depth'; a factory is called without arguments, so "
         "write a function that gives them, as in ./net.py:make"),
        ("net.py:number", "TypeError: 'int' object is not callable"),
        ("net.py:exits", "cannot make architecture 'net.py:exits': SystemExit: usage: train.py DATA (net.py, line 25)"),
        ("pathlib:Path", "Path, not an nn.Module"),
    ],
)  # fmt: skip
def test_what_cannot_be_made_says_why_and_what_to_try(folder: Path, architecture: str, message: str) -> None:
    with pytest.raises(camserve.CamserveError) as caught:
        build(architecture, folder=folder)
    assert message in str(caught.value)


def test_an_error_of_the_user_s_code_names_their_line_and_not_torch_s(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"TypeError: conv2d\(\) received an invalid .* \(net\.py, line 22\)$"):
        build("net.py:broken", folder=folder)
    (folder / "typo.py").write_text("x = 1\nclass Net(\n")
    with pytest.raises(ModelError, match=r"SyntaxError: .* \(typo\.py, line 2\)$"):
        build("typo.py:Net", folder=folder)
    (folder / "fails.py").write_text("import torch\n\nx = 1 / 0\n")
    with pytest.raises(ModelError, match=r"ZeroDivisionError: division by zero \(fails\.py, line 3\)$"):
        build("fails.py:Net", folder=folder)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("torchvision:resnet18", True),
        ("timm:resnet18.a1_in1k", True),
        ("package.module:Net.small", True),
        ("./net.py:Net", True),
        ("folder with spaces/net.py:Net", True),
        ("efficientnet-lite0", False),
        ("my-models/finch", False),
        ("C:\\models\\finch", False),
        ("C:/models/finch", False),
        ("net.py", False),
    ],
)
def test_an_architecture_is_told_from_the_name_and_the_path_of_a_card(text: str, is_one: bool) -> None:
    assert is_architecture(text) is is_one


def test_timm_models_are_made_with_the_input_that_timm_states() -> None:
    pytest.importorskip("timm")
    assert build("timm:resnet18.a1_in1k", 3).fc.out_features == 3
    assert build("timm:resnet18").fc.out_features == 1000
    assert brought_along("timm:resnet18.a1_in1k").input == {
        "size": 224, "crop": 0.95, "resample": "bicubic",
        "mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375),
    }  # fmt: skip
    assert brought_along("timm:inception_v3").input["mean"] == (127.5, 127.5, 127.5)


@pytest.mark.parametrize("name", ["local-dir:/etc", "resnet81"])
def test_only_names_of_timm_s_own_reach_timm(name: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(UnknownName, match=f"unknown timm model '{name}'"):
        build(f"timm:{name}")


def test_an_unknown_tag_of_timm_is_an_error_of_ours() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UnknownName, match="unknown tag of timm's resnet18 'x'. Known: a1_in1k, a2_in1k"):
        build("timm:resnet18.x")


def test_without_timm_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModelError, match=r"'timm:resnet18' needs the package timm.*: pip install \"camserve\[timm\]\""):
        build("timm:resnet18")


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", "ssdlite320_mobilenet_v3_large"])
def test_segmentation_networks_and_detectors_have_names_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fetched for the part of them that is a classifier's."""
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("fetched"))
    network = build(f"torchvision:{name}", 4)
    assert any(parameter.shape[0] % 4 == 0 for parameter in network.parameters())
    brought = brought_along(f"torchvision:{name}").input
    assert brought.get("size") == (520 if name.startswith("lraspp") else None)
