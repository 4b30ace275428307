"""Camserve is right, or says what it cannot do, on networks of every kind; see benchmarks/zoo.py."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camserve

FOLDER = Path(camserve.__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(FOLDER))
from zoo_members import QUICK  # noqa: E402 - the benchmarks are programs in one folder, which they look in

sys.path.remove(str(FOLDER))
MISSING = [library for library in ("timm", "transformers") if find_spec(library) is None]


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks import each other as programs in one folder do; their settings of torch end with the test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the command finds about the quick ones, by name."""
    results = tmp_path_factory.mktemp("zoo") / "zoo.jsonl"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("CAMSERVE_")}
    surroundings |= {"PYTHONPATH": str(FOLDER.parent), "CAMSERVE_MODELS_FOLDERS": ""}
    command = [sys.executable, str(FOLDER / "zoo.py"), "--quick", "--jobs", "2", "--results", str(results)]
    subprocess.run(command, env=surroundings, check=False, timeout=1200)
    found = [json.loads(line) for line in results.read_text().splitlines()]
    return {f"{row['library']}/{row['name']}": row for row in found}


@pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} is not installed")
@pytest.mark.parametrize("name", QUICK)
def test_right_or_refused(name: str, rows: dict[str, dict[str, Any]]) -> None:
    """None is wrong; what the zoo has found is the message where one is."""
    assert rows[name]["verdict"] in ("right", "refused"), rows[name]["words"]


class _Convolutional(nn.Module):
    """Two convolutions with a branch beside the second, pooling, and a linear layer."""

    def __init__(self, *, beside: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 4, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.branch = nn.Conv2d(8, 8, 1) if beside else None
        self.act, self.classifier = nn.ReLU(), nn.Linear(8, 7)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.act(self.first(images))
        last = self.act(self.second(maps))
        pooled = last.mean((2, 3))
        return self.classifier(pooled if self.branch is None else pooled + self.branch(maps).amax((2, 3)))


class _Tokens(nn.Module):
    """A transformer of two blocks that reads a class token out."""

    def __init__(self, *, shuffled: bool = False) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 8, 8, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.Sequential(_Block(), _Block())
        self.classifier = nn.Linear(8, 7)
        order = torch.randperm(64, generator=torch.Generator().manual_seed(0)) if shuffled else torch.arange(64)
        self.register_buffer("order", order)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patches(images).flatten(2).transpose(1, 2)[:, self.order]
        return self.classifier(self.blocks(torch.cat((self.token, patches), 1))[:, 0])


class _Block(nn.Module):
    """Attention in a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.values, self.scores = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        normed = self.norm(tokens)
        return tokens + (normed @ self.scores(normed).mT).softmax(-1) @ self.values(normed)


def judged(network: nn.Module, layer: str, grid: tuple[int, int] | None = None) -> str:
    """What the oracle finds wrong with a layer of a network with random weights, on 64 x 64 pixels."""
    from zoo_layout import layouts
    from zoo_oracle import Oracle
    from zoo_row import picture, pixels_of
    from zoo_weights import randomise

    randomise(network.eval().requires_grad_(False))
    oracle = Oracle(network, pixels_of(picture(64, 64)), layer)
    assert oracle.named is not None
    layout = next(layouts(tuple(oracle.named.tensor.shape), 1.0, grid))
    return oracle.judge(oracle.named, layout)[0]


def test_the_last_layer_is_right() -> None:
    """Before pooling, before its ReLU too; and where a class token is read out, before the last attention."""
    assert judged(_Convolutional(), "second") == ""
    assert judged(_Tokens(), "blocks.0", (8, 8)) == ""
    assert judged(_Tokens(), "blocks.1.norm", (8, 8)) == ""


def test_other_layers_are_wrong() -> None:
    """Each for its own reason."""
    assert "mixed" in judged(_Convolutional(), "first")
    assert "mixed" in judged(_Tokens(), "patches")
    assert "beside" in judged(_Convolutional(beside=True), "second")
    assert "beside" in judged(_Tokens(), "blocks.1.values", (8, 8))
    assert "no influence" in judged(_Tokens(), "blocks.1", (8, 8))
    assert "do not lie" in judged(_Tokens(shuffled=True), "blocks.0", (8, 8))


def test_maps_are_those_of_autograd() -> None:
    """Grad-CAM and HiResCAM of the oracle, against the formulas written out on a linear head."""
    from zoo_layout import Layout
    from zoo_oracle import Oracle
    from zoo_row import picture, pixels_of

    network = _Convolutional().eval()
    image = pixels_of(picture(64, 64))
    oracle = Oracle(network, image, "act")
    assert oracle.named is not None
    maps_by_autograd = oracle.maps(oracle.named, Layout("first", (16, 16)), 3)
    with torch.no_grad():
        maps = network.act(network.second(network.act(network.first(image))))[0]
        expected = torch.einsum("k,khw->hw", network.classifier.weight[3] / 256, maps)
    assert torch.allclose(maps_by_autograd.gradcam, expected, atol=1e-7)
    assert torch.allclose(maps_by_autograd.hirescam, expected, atol=1e-7)


def test_nothing_is_zero() -> None:
    """What fresh networks start at zero, at one or at 1e-6 is random, and batch norms know what reaches them."""
    from zoo_weights import trained_like

    def make() -> nn.Module:
        made = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 7)
        )
        for parameter in made.parameters():
            nn.init.zeros_(parameter)
        return made.eval()

    images = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    made = trained_like(make, images)
    assert all(bool(parameter.all()) for parameter in made.parameters())
    assert np.allclose(made[1].running_var, made[0](images).transpose(0, 1).flatten(1).var(1).detach(), rtol=0.3)


class _Normed(nn.Module):
    """A map that becomes tokens right behind its batch norm, of which each logit is another weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 8, 8), nn.BatchNorm2d(8)
        self.weights = nn.Parameter(torch.randn(7, 64, 8))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.patches(images)).flatten(2).transpose(1, 2)
        return (tokens.contiguous()[:, None] * self.weights).sum((2, 3))


def test_gradients_through_a_batch_norm_before_tokens() -> None:
    """torch 2.14.1 gives others on a CPU: the oracle's are those of the formula, weight / sqrt(variance) behind it."""
    from zoo_graph import Recording
    from zoo_row import picture, pixels_of
    from zoo_weights import randomise

    network = _Normed().eval()
    randomise(network)
    recording = Recording(network, pixels_of(picture(64, 64)))
    (found,), _ = recording.gradients(recording.logits[0, 3], [recording.by_name["patches"]])
    slope = network.norm.weight / (network.norm.running_var + network.norm.eps).sqrt()
    assert found is not None
    assert torch.allclose(found[0].flatten(1).T, network.weights[3] * slope, rtol=1e-5)
