"""Compare camserve with plain autograd on unknown networks.

A `Stranger` answers with `answer(maps(x))`. The halves are plain methods, so that nothing marks the border between
them. The truth comes from calling them one after the other on an instance that camserve never sees.
"""

import copy
import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import camserve

MEAN = (100.0, 110.0, 120.0)
STD = (50.0, 60.0, 70.0)
Make = Callable[[], Any]


def picture(width: int = 32, height: int | None = None, seed: int = 0) -> np.ndarray:
    """uint8 (H, W, 3): coarse blobs under fine noise, so that neither edges nor places are alike."""
    height, random = height or width, np.random.default_rng(seed)
    coarse = random.integers(0, 200, (-(-height // 8), -(-width // 8), 3)).repeat(8, 0).repeat(8, 1)
    return (coarse[:height, :width] + random.integers(0, 56, (height, width, 3))).astype(np.uint8)


def entry(image: np.ndarray) -> torch.Tensor:
    """The network's input where no pixel is resampled."""
    values = (torch.tensor(image, dtype=torch.float64) - torch.tensor(MEAN)) / torch.tensor(STD)
    return values.permute(2, 0, 1)[None].float()


def body(width: int = 12) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, width, 3, 2, 1), nn.ReLU())


class Stranger(nn.Module):
    """Convolutions, ReLU, mean, linear layer; subclasses change one thing each. `views` are the layers to look at."""

    side = 32
    also: tuple[str, ...] = ()  # modules whose output is as good a layer, where what follows cannot be traced

    def __init__(self) -> None:
        super().__init__()
        self.body = body()
        self.fc: nn.Module = nn.Linear(12, 5)
        self.build()

    def build(self) -> None: ...

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)

    def answer(self, f: torch.Tensor) -> Any:
        return self.fc(f.mean((2, 3)))

    def cells(self, f: torch.Tensor) -> torch.Tensor:
        """(1, K, h, w), rows from top to bottom, whatever order the network keeps its places in."""
        return f

    def forward(self, x: torch.Tensor) -> Any:
        return self.answer(self.maps(x))

    def logits(self, out: Any) -> torch.Tensor:
        return out

    def views(self) -> list[tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]]:
        return [(self.maps, self.answer, self.cells)]


class Staged(Stranger):
    """forward is one step after another; `good` counts the steps before each layer that will do."""

    good: tuple[int, ...] = (1,)

    def steps(self) -> list[Callable[..., Any]]:
        return [self.maps, self.answer]

    def forward(self, x: torch.Tensor) -> Any:
        for step in self.steps():
            x = step(x)
        return x

    def views(self) -> list[Any]:
        steps = self.steps()
        return [(chain(steps[:at]), chain(steps[at:]), self.cells) for at in self.good]


def chain(steps: list[Callable[..., Any]]) -> Callable[..., Any]:
    def run(x: Any) -> Any:
        for step in steps:
            x = step(x)
        return x

    return run


class Block(nn.Module):
    def __init__(self, width: int = 12) -> None:
        super().__init__()
        self.norm, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        return self.behind(t, self.norm(t))

    def behind(self, t: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(normed).chunk(3, -1)
        t = t + self.out((q @ k.transpose(-2, -1) / 3).softmax(-1) @ v)
        return t + self.mlp(self.after(t))


class Cases(dict[str, tuple[Callable[[], Any], str | None]]):
    """Networks by name, and the words with which camserve may refuse them."""

    def right(self, kind: Any) -> Any:
        """Add a usual network: only the right answer is accepted."""
        self[kind.__name__] = kind, None
        return kind

    def unusual(self, words: str) -> Callable[[Any], Any]:
        """Add an unusual network: the right answer, a refusal, or a warning with these words is accepted."""

        def add(kind: Any) -> Any:
            self[kind.__name__] = kind, words
            return kind

        return add


def seeded(kind: Callable[..., Any], seed: int = 3) -> Make:
    """Return a function that always makes the same network, with weights, biases and statistics that all matter."""

    def make() -> Any:
        torch.manual_seed(seed)
        net = kind()
        with torch.no_grad():
            for module in net.modules():
                shake(module)
        return net.finish() if hasattr(net, "finish") else net

    return make


def shake(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if module.running_mean is not None:
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2.0)
        if module.affine:
            module.weight.uniform_(0.5, 1.5)
            module.bias.normal_(0, 0.5)
    elif isinstance(module, nn.Conv2d | nn.Linear) and not isinstance(module, nn.modules.lazy.LazyModuleMixin):
        module.weight.mul_(2)


@dataclass(frozen=True)
class Truth:
    logits: np.ndarray
    grad_cams: list[np.ndarray]


def truth(make: Make, image: np.ndarray) -> Truth:
    """Return logits and, for every good layer, Grad-CAM of the best class."""
    x, net = entry(image), make().eval()
    with torch.no_grad():
        logits = net.logits(net(x.clone())).flatten().float().numpy().copy()
    assert np.ptp(logits) > 0.01, "the network tells no classes apart: the test would prove nothing"
    index = int(logits.argmax())
    views = [grad_cam(make, view, x, index, logits) for view in range(len(make().views()))]
    return Truth(logits, views + [grad_cam_behind(make, name, x, index) for name in net.also])


def grad_cam_behind(make: Make, name: str, x: torch.Tensor, index: int) -> np.ndarray:
    """Grad-CAM at a module's output, by a hook that puts a leaf in its place."""
    net, leaves = make().eval(), []

    def cut(module: nn.Module, args: Any, out: torch.Tensor) -> torch.Tensor:
        leaves.append(out.detach().clone().requires_grad_())
        return leaves[-1] * 1

    net.get_submodule(name).register_forward_hook(cut)
    (gradient,) = torch.autograd.grad(net.logits(net(x)).flatten()[index], leaves[-1])
    return (gradient.mean((2, 3), keepdim=True) * leaves[-1].detach()).sum(1)[0].float().numpy()


def grad_cam(make: Make, view: int, x: torch.Tensor, index: int, logits: np.ndarray) -> np.ndarray:
    net = make().eval()
    maps, answer, cells = net.views()[view]
    with torch.no_grad():
        f = maps(x.clone()).detach().clone()
    f.requires_grad_()
    out = net.logits(answer(f * 1)).flatten()
    if getattr(net, "steady", True):
        np.testing.assert_allclose(out.detach().float(), logits, rtol=1e-2, atol=1e-2)
    (gradient,) = torch.autograd.grad(out[index], f)
    values, slopes = (cells(t.detach()).float() for t in (f, gradient))
    found = (slopes.mean((2, 3), keepdim=True) * values).sum(1)[0].numpy()
    assert np.abs(found).max() > 1e-6 and np.std(found) > 1e-2 * np.abs(found).max(), "a flat map would prove nothing"
    return found


def explained(net: Any, image: np.ndarray, *, loading: dict[str, Any] | None = None, **options: Any) -> Any:
    side = getattr(net, "side", 32)
    model = loaded(net, side=side, **(loading or {}))
    if image.shape[:2] == (side, side):
        options.setdefault("size", "native")  # the answer for these pixels, not for the evaluation crop of them
    return model.explain(image, **options)


def loaded(net: Any, *, side: int = 32, **options: Any) -> Any:
    given: dict[str, Any] = {"size": side, "mean": MEAN, "std": STD, **options}
    return camserve.load(net, **given)


def right(make: Make, image: np.ndarray | None = None, *, tolerance: float = 1e-3, **options: Any) -> None:
    """Check that class, logits and the default layer's map are the network's own, and that the network is unchanged."""
    right_or_said(make, None, image, tolerance=tolerance, **options)


def right_or_said(
    make: Make, words: str | None, image: np.ndarray | None = None, *, tolerance: float = 1e-3, **options: Any
) -> None:
    """Check as `right`, but accept a CamserveError, or a warning that matches `words`. None: accept only `right`."""
    net = make()
    image = picture(net.side) if image is None else image
    before = fingerprint(net)
    try:
        found = [explained(net, image, method=method, **options) for method in ("gradcam", "auto")]
    except camserve.CamserveError as error:
        assert words is not None, f"refused: {error}"
        check_refusal(error)
        return
    finally:
        assert fingerprint(net) == before, "the user's module was changed"
    silent = [explanation for explanation in found if not is_said(explanation, words)]
    expected = truth(make, image) if silent else None
    for explanation in silent:
        check(explanation, expected, tolerance)


def check_refusal(error: camserve.CamserveError) -> None:
    text = str(error)
    assert len(text) > 20 and "Traceback" not in text, f"says nothing: {text!r}"


def is_said(explanation: Any, words: str | None) -> bool:
    return words is not None and any(re.search(words, warning, re.IGNORECASE) for warning in explanation.warnings)


def check(explanation: Any, expected: Any, tolerance: float = 1e-3) -> None:
    check_logits(explanation, expected.logits, tolerance)
    check_map(explanation, expected.grad_cams, tolerance)


def check_logits(explanation: Any, logits: np.ndarray, tolerance: float = 1e-3) -> None:
    assert explanation.logits.shape == logits.shape, f"{explanation.logits.shape} logits, not {logits.shape}"
    error = np.abs(explanation.logits - logits).max() / np.abs(logits).max()
    assert error < tolerance, f"logits are off by {error:.2g} of the largest; warnings {explanation.warnings}"
    assert explanation.class_index == int(logits.argmax())
    assert abs(explanation.logit - logits.max()) <= tolerance * np.abs(logits).max()


def check_map(explanation: Any, grad_cams: list[np.ndarray], tolerance: float = 1e-3) -> None:
    found = explanation.map / (explanation.map.size if explanation.method == "cam" else 1)
    errors = [np.abs(found - g).max() / np.abs(g).max() for g in grad_cams if g.shape == found.shape]
    where = f"{explanation.method} at layer {explanation.layer!r} ({explanation.head}) is {found.shape}"
    shapes = [g.shape for g in grad_cams]
    assert errors, f"{where}, not one of {shapes}; warnings {explanation.warnings}"
    assert min(errors) < tolerance, f"{where}, off by {min(errors):.2g} of its peak; warnings {explanation.warnings}"


def fingerprint(net: nn.Module) -> list[Any]:
    """Return all that a user could notice of a module: modes, hooks, parameters, buffers, plain attributes."""
    rows: list[Any] = []
    for name, module in net.named_modules():
        hooks = [len(getattr(module, f"_{kind}", ())) for kind in ("forward_hooks", "forward_pre_hooks")]
        rows.append((name, module.training, hooks))
        rows += [(name, key, summary(value)) for key, value in state(module)]
    return rows


def state(module: nn.Module) -> Iterator[tuple[str, Any]]:
    yield from module._parameters.items()
    yield from module._buffers.items()
    for key, value in vars(module).items():
        if isinstance(value, torch.Tensor | int | float | str | tuple | type(None)) and key != "training":
            yield key, value
        if isinstance(value, dict | list) and not key.startswith("_"):
            yield key, copy.copy(value)


def summary(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return repr(value)
    if value.is_meta or nn.parameter.is_lazy(value):
        return type(value).__name__
    raw = value.detach().cpu().contiguous().float() if not value.is_quantized else value.dequantize()
    digest = hashlib.sha256(raw.numpy().tobytes()).hexdigest()
    return str(value.dtype), tuple(value.shape), value.requires_grad, value.grad is None, digest
