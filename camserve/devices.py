"""Where a network computes, and something to feed it there."""

import torch
from torch import Tensor, nn

from camserve.errors import ConfigError


def find_device(name: str) -> torch.device:
    """The device of that name, tried with one number. Raises ConfigError where torch cannot use it here."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch raises many kinds for what it was not built for
        reason = str(error).split("\n")[0]
        raise ConfigError(f"compute.device = {name!r} cannot be used here: {reason}. 'cpu' always can") from None
    return device


def device_of(module: nn.Module) -> torch.device:
    """Where a network's parameters are; the CPU where it has none."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def odd_size(side: int) -> tuple[int, int]:
    """A size (w, h) near a square of `side` that is neither square nor a multiple of the usual strides."""
    return side + 17, side + 5


def noise(module: nn.Module, width: int, height: int) -> Tensor:
    """The same (1, 3, height, width) of normal noise every time, where `module` is."""
    values = torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    return values.to(device_of(module))
