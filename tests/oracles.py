"""A network's logits and maps, computed by plain torch on the original module.

Nothing here depends on camserve: the module itself runs, and a hook that lives for one call records its activations and
gradients.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from conftest import picture
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

import camserve
from camserve.config import load_settings
from camserve.errors import CamserveError

Pixels = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Network = TypeVar("Network", bound=nn.Module)
Pick = Callable[[Any], Tensor]


def pixels(width: int, height: int | None = None, *, seed: int = 0) -> Pixels:
    """Return a picture that camserve does not resize, uint8 (height, width, 3)."""
    return np.array(picture(seed, (width, height or width)))


def input_of(photo: Pixels) -> Tensor:
    """Return the input (1, 3, H, W) of a network loaded by `load`."""
    return (torch.from_numpy(photo).permute(2, 0, 1)[None].float() - 127.5) / 127.5


def load(module: nn.Module, side: int, *, engine: str = "torch", **options: Any) -> camserve.Model:
    """`camserve.load` with pixels as -1..1 and an engine by name."""
    settings = load_settings(overrides={"compute": {"engine": engine}})
    return camserve.load(module, size=side, mean=[127.5] * 3, std=[127.5] * 3, settings=settings, **options)


def lively(module: Network, side: int, *, seed: int = 0) -> Network:
    """Return `module` in evaluation mode with weights that all matter: no zeros, batch norms as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(_scale(weight) * noise if weight.ndim > 1 else weight + 0.2 * noise)
        _settle(module, side)
    return module.eval()


def _scale(weight: Tensor) -> float:
    if weight.ndim == 3:  # tokens and position embeddings
        return 0.3
    return ((2 if weight.ndim == 4 else 1) / max(1, weight[0].numel())) ** 0.5


def _settle(module: nn.Module, side: int) -> None:
    """Give every batch norm the statistics of four pictures."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    if not norms:
        return
    for norm in norms:
        norm.momentum = 1.0
    torch.manual_seed(0)
    module.train()(torch.cat([input_of(pixels(side, seed=seed)) for seed in range(4)]))


def answer_of(module: nn.Module, images: Tensor, pick: Pick = lambda answer: answer) -> Float32:
    """Return the logits of the first image. pick: finds them in the module's output."""
    with torch.no_grad():
        logits: Float32 = pick(module.eval()(images))[0].float().numpy()
    return logits


def at_layer(
    module: nn.Module,
    layer: str,
    images: Tensor,
    index: int,
    *,
    grid: tuple[int, int],
    pick: Pick = lambda answer: answer,
) -> tuple[Tensor, Tensor]:
    """Return activations and gradients of one logit at a module's last use, both (K, h, w). grid: (h, w)."""
    kept = list[Tensor]()

    def keep(part: nn.Module, inputs: Any, output: Any) -> Any:
        if isinstance(output, tuple):  # the tensor comes first, however deep
            return (keep(part, inputs, output[0]), *output[1:])
        kept.append(output if output.requires_grad else output.detach().requires_grad_())
        return kept[-1].clone()  # the next layer may change its input in place

    handle = module.eval().get_submodule(layer).register_forward_hook(keep)
    try:
        (gradient,) = torch.autograd.grad(pick(module(images))[0, index], kept[-1])
    finally:
        handle.remove()
    return _as_maps(kept[-1].detach(), grid), _as_maps(gradient, grid)


def _as_maps(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """(1, K, h, w), (1, h, w, K) or tokens (1, prefix + h w, K) as (K, h, w)."""
    if values.ndim == 3:
        return values[0, -grid[0] * grid[1] :].T.reshape(-1, *grid)
    if tuple(values.shape[2:]) == grid:
        return values[0]
    assert tuple(values.shape[1:3]) == grid, f"no maps of {grid}: {tuple(values.shape)}"
    return values[0].permute(2, 0, 1)


def gradcam_of(
    module: nn.Module,
    layer: str,
    images: Tensor,
    index: int,
    *,
    grid: tuple[int, int],
    pick: Pick = lambda answer: answer,
) -> Float32:
    """Grad-CAM (h, w), raw and signed: sum_k mean(g_k) A_k."""
    activations, gradients = at_layer(module, layer, images, index, grid=grid, pick=pick)
    made: Float32 = (gradients.mean((1, 2))[:, None, None] * activations).sum(0).numpy()
    return made


def class_maps_of(weight: Tensor, activations: Tensor) -> Float32:
    """(C, h, w): a linear layer's weight (C, K) at every place of activations (K, h, w)."""
    made: Float32 = torch.einsum("ck,khw->chw", weight.detach().float(), activations.detach().float()).numpy()
    return made


def assert_same(ours: Any, expected: Any, *, share: float = 1e-3) -> None:
    """Assert that values agree to this share of the largest value, which is not zero."""
    peak = float(np.abs(expected).max())
    assert peak > 0
    assert np.shape(ours) == np.shape(expected)
    np.testing.assert_allclose(np.asarray(ours) / peak, np.asarray(expected) / peak, rtol=0, atol=share)


def assert_gradcam(
    model: camserve.Model, module: nn.Module, photo: Pixels, *, index: int = 1, pick: Pick = lambda answer: answer
) -> None:
    """Assert that `gradcam` at the default layer and the logits equal those of autograd on the uncut module."""
    found = model.explain(photo, method="gradcam", target=index, size=min(photo.shape[:2]))
    images = input_of(photo)
    assert found.placement.frame.input == (photo.shape[1], photo.shape[0])
    assert_same(found.logits, answer_of(module, images, pick))
    grid = (found.map.shape[0], found.map.shape[1])
    assert_same(found.map, gradcam_of(module, model.default_layer, images, index, grid=grid, pick=pick))


def explained_or_refused(attempt: Callable[[], camserve.Explanation], words: str) -> camserve.Explanation | None:
    """Return the explanation; None if camserve refuses with a short and clear message.

    words: a regular expression that the message must match.
    """
    try:
        return attempt()
    except CamserveError as error:
        said = str(error)
    assert re.search(words, said, re.IGNORECASE), said
    assert len(said) < 600, said
    assert "Traceback" not in said
    return None
