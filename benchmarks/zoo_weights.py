"""Random weights without zeros and ones, so that every part of a network has an effect and no error stays hidden.

New networks hide errors: classifiers, last norms of residual branches and layer scales start at zero or at 1e-6, batch
norms at mean 0 and variance 1. Here every parameter is random, and batch norms have the statistics of real inputs.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

_SEED = 20261


def trained_like(make: Callable[[], nn.Module], example: Tensor) -> nn.Module:
    """Return a network of `make` with such weights that has never run. example: images (N, C, H, W) for statistics."""
    torch.manual_seed(_SEED)
    tried = make()
    randomise(tried)
    measure_statistics(tried, example)
    torch.manual_seed(_SEED)
    fresh = make()
    fresh.load_state_dict(tried.state_dict())
    return fresh.eval()


def randomise(network: nn.Module) -> None:
    """Draw every parameter by its kind: weights keep the size of activations, scales are below 1, offsets are small."""
    generator = torch.Generator().manual_seed(_SEED)
    with torch.no_grad():
        for part in network.modules():
            for name, parameter in part.named_parameters(recurse=False):
                parameter.copy_(_drawn(part, name, parameter, generator))
            _attend_nearby(part)


def _drawn(part: nn.Module, name: str, parameter: Tensor, generator: torch.Generator) -> Tensor:
    normal = torch.randn(parameter.shape, generator=generator)
    if _is_offset(name):
        return 0.1 * normal
    if parameter.ndim < 2 or parameter.numel() == max(parameter.shape):
        # weak branches change little of the skip connection, as in trained networks, so that cells keep their places
        return 0.2 + 0.4 * torch.rand(parameter.shape, generator=generator)
    if _is_embedding(part, name):
        return 0.3 * normal
    normal = normal * _bump(part, parameter)
    return normal * math.sqrt(_gain(part) / max(1.0, float(normal[0].square().sum())))


def _attend_nearby(part: nn.Module) -> None:
    """Make biases of attention by distance favour near places, as trained biases do (LeViT and similar networks).

    If queries lie further apart than keys, only these biases tell where a query lies.
    """
    table, indices = getattr(part, "attention_biases", None), getattr(part, "attention_bias_idxs", None)
    if not isinstance(table, Tensor) or not isinstance(indices, Tensor) or indices.ndim != 2:
        return
    (of_queries, of_keys) = (_grid(count) for count in indices.shape)
    apart = (of_queries[:, None] - of_keys).norm(dim=-1)
    table[:, indices] = table[:, indices] - 12 * apart.to(table)


def _grid(count: int) -> Tensor:
    """Return the places of cells on a square of side 1, (count, 2), row by row."""
    side = math.isqrt(count)
    places = (torch.arange(side) + 0.5) / side
    return torch.cartesian_prod(places, places)


def _is_offset(name: str) -> bool:
    return name.endswith(("bias", "beta", "biases")) or "bias_table" in name


def _is_embedding(part: nn.Module, name: str) -> bool:
    words = ("pos", "cls", "token", "embed", "table", "latent", "query", "probe")
    return isinstance(part, nn.Embedding) or any(word in name.lower() for word in words)


def _bump(part: nn.Module, parameter: Tensor) -> Tensor:
    """Return a factor for overlapping kernels, largest at the centre as in trained kernels: cells get a place."""
    if not isinstance(part, nn.Conv2d) or parameter.ndim != 4 or part.stride >= part.kernel_size:
        return torch.ones(())
    down, across = ((torch.arange(side) - (side - 1) / 2) / max(1.0, side / 4) for side in parameter.shape[2:])
    return torch.exp(-(down[:, None].square() + across.square()) / 2)


def _gain(part: nn.Module) -> float:
    """Return the gain: a ReLU after a convolution removes half of the variance."""
    return 2.0 if isinstance(part, nn.Conv2d) else 1.0


def measure_statistics(network: nn.Module, example: Tensor) -> None:
    """Set the running means and variances of every norm to those of `example`, with a small random change."""
    generator = torch.Generator().manual_seed(_SEED + 1)

    def measure(part: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].transpose(0, 1).flatten(1)
        off = 0.8 + 0.4 * torch.rand(len(values), generator=generator)
        part.running_mean.copy_(values.mean(1) * off)
        part.running_var.copy_(values.var(1).clamp(min=0.05) * off.flip(0))

    kept = [part for part in network.modules() if isinstance(getattr(part, "running_var", None), Tensor)]
    handles = [part.register_forward_pre_hook(measure) for part in kept]
    try:
        with torch.no_grad():
            network.eval()(example)
    except Exception:  # a network that does not take images cannot be measured; the check reports it
        return
    finally:
        for handle in handles:
            handle.remove()
