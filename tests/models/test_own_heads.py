"""Checkpoints whose user has put another head in place of the architecture's: made again, or asked for."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

import camserve
from camserve.errors import ModelError
from camserve.models.architectures.by_name import build

SMALL = "torchvision:shufflenet_v2_x0_5"  # fc: 1024 -> 1000


NETWORK = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self._fc = nn.Linear(8, 10)

    def forward(self, x):
        return self._fc(self.body(x))
"""


def saved(architecture: str, place: str, head: nn.Module, path: Path) -> nn.Module:
    """The network with that head at `place`, as it was trained; its weights are in the file."""
    network = build(architecture)
    network.set_submodule(place, head)
    for part in head.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.uniform_(-1, 1)
            part.running_var.uniform_(0.5, 2)
    torch.save({"state_dict": {f"module.{key}": one for key, one in network.state_dict().items()}}, path)
    return network.eval()


def linear(before: int, after: int) -> nn.Module:
    return nn.Linear(before, after)


@pytest.mark.parametrize(
    ("architecture", "place", "head"),
    [
        (SMALL, "fc", nn.Sequential(nn.Dropout(), linear(1024, 5))),
        (SMALL, "fc", nn.Sequential(linear(1024, 5))),
        (SMALL, "fc", nn.Sequential(linear(1024, 32), linear(32, 5))),
        (SMALL, "fc", nn.Sequential(nn.Dropout(), linear(1024, 32), linear(32, 16), linear(16, 5))),
        (SMALL, "fc", nn.Sequential(nn.BatchNorm1d(1024), linear(1024, 5))),
        (SMALL, "fc", nn.Sequential(nn.Linear(1024, 32, bias=False), nn.BatchNorm1d(32), linear(32, 5))),
        (SMALL, "fc", nn.Sequential(nn.BatchNorm1d(1024, affine=False), linear(1024, 5))),
        (SMALL, "fc", nn.Linear(1024, 5, bias=False)),
        ("torchvision:mobilenet_v3_small", "classifier", linear(576, 5)),
        ("torchvision:mobilenet_v3_small", "classifier", nn.Sequential(nn.Dropout(), linear(576, 5))),
        ("torchvision:mobilenet_v3_small", "classifier.3", nn.Sequential(nn.Dropout(), linear(1024, 5))),
        ("torchvision:vit_b_32", "heads", linear(768, 5)),
        ("timm:resnet10t", "fc", nn.Sequential(nn.Dropout(), linear(512, 5))),
        ("timm:convnext_atto", "head.fc", nn.Sequential(nn.Dropout(), linear(320, 5))),
        ("timm:vit_tiny_patch16_224", "head", nn.Sequential(nn.Dropout(), linear(192, 5))),
        ("net.py:Net", "_fc", nn.Sequential(nn.Dropout(), linear(8, 5))),
    ],
)
def test_a_head_that_the_file_tells_all_about_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, place: str, head: nn.Module
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(NETWORK)
    if architecture.startswith("timm"):
        pytest.importorskip("timm")
    trained = saved(architecture, place, head, tmp_path / "x.pth")
    model = camserve.load(architecture, weights=tmp_path / "x.pth", labels=list("abcde"))
    width, height = model.card.input.sides
    images = torch.rand(2, 3, height, width)
    with torch.no_grad():
        assert torch.allclose(model.module(images), trained(images), atol=1e-5)


def test_a_replaced_linear_head_keeps_its_exact_map(tmp_path: Path) -> None:
    saved(SMALL, "fc", nn.Sequential(nn.Dropout(), linear(1024, 5)), tmp_path / "x.pth")
    model = camserve.load(SMALL, weights=tmp_path / "x.pth")
    assert model.layer().head.kind == "linear"


def test_making_a_head_draws_no_random_number_of_the_caller_s(tmp_path: Path) -> None:
    saved(SMALL, "fc", nn.Sequential(nn.Dropout(), linear(1024, 5)), tmp_path / "x.pth")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    camserve.load(SMALL, weights=tmp_path / "x.pth")
    assert torch.equal(torch.rand(3), expected)


ACTIVATIONS = [nn.ReLU(), nn.GELU(), nn.Tanh(), nn.Dropout()]


@pytest.mark.parametrize("between", ACTIVATIONS, ids=lambda one: type(one).__name__)
def test_what_lies_between_layers_is_not_guessed(tmp_path: Path, between: nn.Module) -> None:
    saved(SMALL, "fc", nn.Sequential(linear(1024, 32), between, nn.Dropout(), linear(32, 5)), tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        camserve.load(SMALL, weights=tmp_path / "x.pth")
    assert str(caught.value) == (
        "'x.pth' fits 'torchvision:shufflenet_v2_x0_5' except for 'fc', where it has a head of its own: "
        "'fc.0' is Linear(1024, 32), 'fc.3' is Linear(32, 5); modules around them have no weights, "
        "so the file does not tell an activation from dropout. "
        "Write the head in ./net.py and give ./net.py:make as the architecture:\n\n"
        "from torch import nn\n"
        "from torchvision import models\n\n"
        "def make():\n"
        "    network = models.get_model('shufflenet_v2_x0_5')\n"
        "    network.fc = nn.Sequential(nn.Linear(1024, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 5))"
        "  # with the activations that were there\n"
        "    return network"
    )


@pytest.mark.parametrize(
    ("architecture", "place", "head"),
    [
        (SMALL, "fc", nn.Sequential(linear(1024, 32), nn.ReLU(), nn.Dropout(), linear(32, 5))),
        (SMALL, "fc", nn.Sequential(nn.Flatten(), nn.Dropout(), linear(1024, 5))),
        (
            "torchvision:mobilenet_v3_small",
            "classifier.3",
            nn.Sequential(linear(1024, 8), nn.ReLU(), nn.Dropout(), linear(8, 5)),
        ),
        (
            "torchvision:mobilenet_v3_small",
            "classifier",
            nn.Sequential(linear(576, 32), nn.BatchNorm1d(32), nn.ReLU(), linear(32, 5)),
        ),
    ],
)
def test_the_lines_to_write_are_right_where_it_was_relu_and_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: str, place: str, head: nn.Module
) -> None:
    trained = saved(architecture, place, head, tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        camserve.load(architecture, weights=tmp_path / "x.pth")
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(str(caught.value).partition("\n\n")[2])
    model = camserve.load("./net.py:make", weights="x.pth")
    images = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.allclose(model.module(images), trained(images), atol=1e-4)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        (nn.Sequential(nn.LayerNorm(1024), linear(1024, 5)), "'fc.0.weight' (1024,), 'fc.0.bias' (1024,), 'fc.1.weigh"),
        (nn.Sequential(OrderedDict(drop=nn.Dropout(), last=linear(1024, 5))), "'fc.last.weight' (5, 1024), 'fc.last.b"),
        (nn.Sequential(nn.Conv1d(1, 5, 1024)), "'fc.0.weight' (5, 1, 1024)"),
    ],
)
def test_a_head_of_other_layers_is_asked_for(tmp_path: Path, head: nn.Module, told: str) -> None:
    saved(SMALL, "fc", head, tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        camserve.load(SMALL, weights=tmp_path / "x.pth")
    assert f"it has a head of its own: {told}" in str(caught.value)
    assert "names and shapes do not tell how the head uses them. Write the head in ./net.py" in str(caught.value)
    assert "    network.fc = ...  # the head that was there" in str(caught.value)


def test_a_head_of_a_network_of_another_width_is_none_of_its_own(tmp_path: Path) -> None:
    saved(SMALL, "fc", nn.Sequential(nn.Dropout(), linear(999, 5)), tmp_path / "x.pth")
    with pytest.raises(ModelError, match="does not fit .*Name the architecture that the weights were trained with"):
        camserve.load(SMALL, weights=tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("architecture", "names"),
    [
        ("timm:resnet10t", "'fc'"),
        ("timm:convnext_atto", "'head.fc'"),
        ("timm:deit_tiny_distilled_patch16_224", "'head' and 'head_dist'"),
    ],
)
def test_weights_without_a_classifier_are_said_to_have_none(tmp_path: Path, architecture: str, names: str) -> None:
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model(architecture.partition(":")[2], num_classes=0).state_dict(), tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        camserve.load(architecture, weights=tmp_path / "x.pth")
    assert str(caught.value) == (
        f"'x.pth' fits '{architecture}', but has no classifier ({names}): it holds a network that ends in an "
        "embedding, as timm.create_model(..., num_classes=0) makes it, so it has no classes. Add a classifier, "
        "train it, and save both"
    )
