"""Networks of the field: what they remember between calls, and the sizes and proportions that they take."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from oracles import (
    answer_of,
    assert_same,
    explained_or_refused,
    gradcam_of,
    input_of,
    lively,
    load,
    pixels,
)
from torch import Tensor, nn
from torch.nn import functional as F

import camserve
from camserve.errors import CamserveError

CLASSES = 5


class Remembers(nn.Module):
    """Averages over windows half as large as its map, or as the smallest map that it has ever seen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1))
        self.fc, self.window = nn.Linear(8, CLASSES), 99

    def forward(self, x: Tensor) -> Tensor:
        f = self.body(x)
        self.window = min(self.window, min(f.shape[-2:]) // 2)
        return self.fc(F.avg_pool2d(f, self.window, 1).amax((2, 3)))


def test_a_size_does_not_change_what_the_network_says_at_the_next() -> None:
    model = load(lively(Remembers(), 96), 96)
    for side in (96, 64, 96, 128, 32, 128):
        photo = pixels(side)
        found = model.explain(photo, size=side, layer="body", method="gradcam", target=1)
        images, grid = input_of(photo), (side // 8, side // 8)
        assert_same(found.logits, answer_of(lively(Remembers(), 96), images), share=1e-4)
        assert_same(found.map, gradcam_of(lively(Remembers(), 96), "body", images, 1, grid=grid))


def swin() -> nn.Module:
    """transformers' Swin, trained at 64, where its second stage is one window of 8 x 8."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    options = {"image_size": 64, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]}
    torch.manual_seed(0)
    config = transformers.SwinConfig(window_size=8, num_labels=CLASSES, **options)
    return lively(transformers.SwinForImageClassification(config), 64)


def test_swin_answers_at_every_size_as_if_it_were_the_first() -> None:
    model, fails = load(swin(), 64), list[int]()
    for side in (64, 96, 48, 64, 96, 128, 48, 96):
        photo = pixels(side)
        try:
            expected = answer_of(swin(), input_of(photo), lambda answer: answer.logits)
        except RuntimeError:  # below its window, which the network itself does not take
            fails.append(side)
            with pytest.raises(CamserveError):
                model.explain(photo, size=side)
            continue
        assert_same(model.explain(photo, size=side).logits, expected, share=1e-4)
    assert fails in ([], [48, 48])


class Caches(nn.Module):
    """Attention whose biases by place are gathered once in evaluation mode and kept, as in LeViT."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.qkv = nn.Conv2d(3, 16, 8, 8), nn.Linear(16, 48)
        self.norm, self.fc = nn.LayerNorm(16), nn.Linear(16, CLASSES)
        self.biases, self.kept = nn.Parameter(torch.randn(64)), dict[str, Tensor]()
        y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
        places = torch.stack([y.flatten(), x.flatten()])
        apart = (places[:, :, None] - places[:, None]).abs()
        self.register_buffer("index", apart[0] * 8 + apart[1], persistent=False)

    def train(self, mode: bool = True) -> "Caches":
        super().train(mode)
        if mode:
            self.kept = {}
        return self

    def bias(self, device: str) -> Tensor:
        if self.training:
            return self.biases[self.index]
        if device not in self.kept:
            self.kept[device] = self.biases[self.index]
        return self.kept[device]

    def forward(self, x: Tensor) -> Tensor:
        t = self.body(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(t).chunk(3, -1)
        t = self.norm(t + (q @ k.transpose(1, 2) / 4 + self.bias(str(x.device))).softmax(-1) @ v)
        return self.fc(t.amax(1))


@pytest.mark.parametrize("used_before", [False, True])
def test_what_a_network_keeps_between_calls_stays_its_own(used_before: bool) -> None:
    net, photo = lively(Caches(), 64), pixels(64)
    if used_before:
        net(input_of(photo))  # with gradients on: what is kept has a history
    kept = dict(net.kept)
    model = load(net, 64)
    assert {name: id(value) for name, value in net.kept.items()} == {name: id(value) for name, value in kept.items()}
    found = model.explain(photo, size=64, method="gradcam", target=1)
    fresh = lively(Caches(), 64)
    assert_same(found.logits, answer_of(fresh, input_of(photo)), share=1e-4)
    assert found.layer == "norm"
    assert_same(found.map, gradcam_of(lively(Caches(), 64), "norm", input_of(photo), 1, grid=(8, 8)))


def test_weights_changed_before_loading_count_though_older_ones_are_kept() -> None:
    net, photo = lively(Caches(), 64), pixels(64)
    with torch.no_grad():
        net(input_of(photo))
        before = answer_of(net, input_of(photo))
        net.train()
        net.biases.mul_(-2)
        net.eval()
    expected = answer_of(net, input_of(photo))
    assert np.abs(expected - before).max() > 0.01
    assert_same(load(net, 64).explain(photo, size=64).logits, expected, share=1e-4)


def test_timm_s_levit_that_has_been_used_is_taken() -> None:
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    net, photo = lively(timm.create_model("levit_128s", num_classes=CLASSES), 224), pixels(224)
    expected = net(input_of(photo))[0].detach().numpy()
    assert_same(load(net, 224).explain(photo, size=224, method="gradcam").logits, expected, share=1e-3)
    assert_same(answer_of(net, input_of(photo)), expected, share=1e-5)


class Tokens(nn.Module):
    """A convolutional body, and what reads its places one after the other. untraced: behind a branch on data."""

    def __init__(self, kind: str, *, untraced: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.Conv2d(8, 16, 4, 4))
        self.kind, self.untraced = kind, untraced
        self.lstm, self.gru = nn.LSTM(16, 16, batch_first=True), nn.GRU(16, 16, batch_first=True)
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.fc, self.places = nn.Linear(16, CLASSES), nn.Parameter(torch.randn(1, 49, 16))

    def forward(self, x: Tensor) -> Tensor:
        if self.untraced and x.sum() < -1e9:
            x = -x
        t = self.body(x).flatten(2).transpose(1, 2)
        if self.kind == "lstm":
            return self.fc(self.lstm(t)[0][:, -1])
        if self.kind == "gru":
            return self.fc(self.gru(t)[0].mean(1))
        if self.kind == "encoder":
            t = self.encoder(t)
        if self.kind == "places":
            t = self.encoder(t + self.places)
        return self.fc(t.mean(1))


HOW = pytest.mark.parametrize("untraced", [False, True], ids=["traced", "untraced"])


@HOW
@pytest.mark.parametrize("kind", ["mean", "lstm", "gru", "encoder"])
def test_tokens_of_a_body_that_takes_any_size_are_read_at_any_proportions(kind: str, untraced: bool) -> None:
    net = lively(Tokens(kind, untraced=untraced), 224)
    model, photo = load(net, 224), pixels(336, 224)
    images = input_of(photo)
    found = model.explain(photo, method="gradcam", target=1)
    assert found.placement.frame.input == (336, 224)
    assert_same(found.logits, answer_of(net, images))
    layer = found.layer if found.layer in dict(net.named_modules()) else "body"  # a view of the body's maps
    assert_same(found.map, gradcam_of(net, layer, images, 1, grid=(7, 10)))
    for size in ((300, 200), (200, 300), (500, 100), (64, 64)):
        assert np.isfinite(model.explain(pixels(*size)).map).all()


@HOW
def test_position_embeddings_keep_a_network_at_its_own_size(untraced: bool, capfd: pytest.CaptureFixture[str]) -> None:
    net = lively(Tokens("places", untraced=untraced), 224)
    model, photo = load(net, 224), pixels(224)
    assert_same(model.explain(photo).logits, answer_of(net, input_of(photo)))
    for size in ((300, 200), (200, 300), (500, 100), (64, 64), (240, 224)):
        found = model.explain(pixels(*size))
        assert found.placement.frame.input == (224, 224)
        assert found.map.shape == (7, 7)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (448, 100)])
def test_the_first_snippet_of_tokens_without_a_norm(size: tuple[int, int]) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c, self.fc = nn.Conv2d(3, 8, 32, 32), nn.Linear(8, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.c(x).flatten(2).transpose(1, 2).mean(1))

    torch.manual_seed(0)
    found = camserve.load(Net()).explain(pixels(*size))
    width, height = found.placement.frame.input
    assert found.map.shape == (height // 32, width // 32)
    assert (width > height) == (size[0] > size[1])


class TwoBranches(nn.Module):
    """A fine branch plus a coarse one, enlarged twice: the two match at multiples of 32, and not at every size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fine = nn.Sequential(nn.Conv2d(3, 8, 7, 4, 3), nn.ReLU(), nn.Conv2d(8, 8, 5, 4, 2), nn.ReLU())
        self.coarse, self.fc = nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        f = self.fine(x)
        return self.fc((f + F.interpolate(self.coarse(f), scale_factor=2.0)).relu().mean((2, 3)))


class UntracedBranches(TwoBranches):
    """The same behind a branch on data."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > -1e9 else -x)


@pytest.mark.parametrize("kind", [TwoBranches, UntracedBranches])
def test_networks_that_need_multiples_of_32_see_the_photograph_s_proportions(kind: Callable[[], nn.Module]) -> None:
    net = lively(kind(), 64)
    with pytest.raises(RuntimeError):
        net(input_of(pixels(80, 64)))
    model, photo = load(net, 64), pixels(96, 64)
    found = model.explain(photo)
    assert found.placement.frame.input == (96, 64)
    assert_same(found.logits, answer_of(net, input_of(photo)))
    for size in ((300, 200), (301, 187), (187, 301), (130, 64), (90, 64)):
        frame = model.explain(pixels(*size)).placement.frame
        net(torch.zeros(1, 3, *reversed(frame.input)))  # a size that it takes
        assert frame.input[0] / frame.input[1] == pytest.approx(size[0] / size[1], rel=0.26)  # half a step of 32 at 64
    explained_or_refused(lambda: model.explain(photo, size=100), "multiple|32|100")


@pytest.mark.parametrize("name", ["hrnet_w18_small", "dla34"])
def test_timm_s_networks_that_need_multiples_of_32_are_not_squeezed(name: str) -> None:
    timm = pytest.importorskip("timm", reason="camserve[timm] is not installed")
    net: Any = lively(timm.create_model(name, num_classes=CLASSES), 64)
    photo = pixels(96, 64)
    found = load(net, 64).explain(photo)
    assert found.placement.frame.input == (96, 64)
    assert_same(found.logits, answer_of(net, input_of(photo)))
