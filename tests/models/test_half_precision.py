"""What a GPU is given in bfloat16, held on the CPU to what float32 says."""

import numpy as np
import pytest
import torch
from conftest import picture
from torch import nn
from torchvision import models

import camserve
from camserve.config import load_settings
from camserve.graph.devices import sent
from camserve.models.engines.engine import engine_for
from camserve.models.engines.half_precision import HalfPrecisionEngine
from camserve.models.engines.torch_engine import TorchEngine

ON_GPU = load_settings(environ={}, overrides={"compute": {"device": "cuda", "precision": "bfloat16"}}).compute


@pytest.fixture(scope="module")
def loaded() -> camserve.Model:
    torch.manual_seed(0)
    settings = load_settings(environ={}, overrides={"compute": {"engine": "torch"}})
    return camserve.load(models.resnet18(weights=None), settings=settings)


def test_the_body_is_rounded_and_maps_still_add_up(loaded: camserve.Model) -> None:
    layer = loaded.layer()
    engine = engine_for(layer.on_torch, ON_GPU, loaded.network, "it")
    assert isinstance(engine, HalfPrecisionEngine)
    images = layer.image()
    exact, _, logits = layer.on_torch(images)
    rounded, _, answered = engine(images)
    assert rounded.dtype == answered.dtype == torch.float32
    off = float((exact - rounded).abs().max() / exact.abs().max())
    assert 1e-4 < off < 0.1
    assert float((logits - answered).abs().max()) < 0.05 * float(logits.max() - logits.min())
    head = layer.head
    assert torch.allclose(engine.class_maps(images).mean((2, 3)) + head.bias, answered, atol=1e-4)  # type: ignore[attr-defined]


def test_whatever_cannot_be_rounded_runs_in_float32(loaded: camserve.Model, caplog: pytest.LogCaptureFixture) -> None:
    class Exact(nn.Module):
        """Adds what is in float32 wherever it is."""

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, tuple[object, ...]]:
            found, carried = loaded.layer().on_torch.body(images.float())
            return found, (*carried, "a word")

    layer = loaded.layer()
    engine = TorchEngine(Exact(), layer.on_torch.head)
    assert engine_for(engine, ON_GPU, loaded.network, "layer 'x'") is engine
    assert "layer 'x' runs in float32, not in bfloat16" in caplog.text


def test_a_gpu_is_asked_for_only_where_there_is_one() -> None:
    images = torch.rand(1, 3, 4, 4)
    assert sent(images, torch.device("cpu")) is images
    if torch.cuda.is_available():
        assert torch.equal(sent(images, torch.device("cuda")).cpu(), images)
        settings = load_settings(environ={}, overrides={"compute": {"device": "cuda"}})
        torch.manual_seed(0)
        net = models.resnet18(weights=None)
        one, two = (
            camserve.load(net, settings=made).explain(picture(), target=0) for made in (settings, load_settings())
        )
        assert np.allclose(one.map, two.map, atol=1e-3 * np.abs(two.map).max())
