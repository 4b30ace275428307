"""The device of a network, and test images on it."""

import torch
from torch import Tensor, nn

from camserve.errors import ConfigError, first_line


def find_device(name: str) -> torch.device:
    """The device with this name. Raises ConfigError if torch cannot put a number on it."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch raises many kinds of error for a device that it was not built for
        reason = first_line(error)
        raise ConfigError(f"compute.device = {name!r} cannot be used here: {reason}. Try 'cpu'") from None
    return device


def device_of(module: nn.Module) -> torch.device:
    """The device of a network's parameters; the CPU if it has no parameters."""
    first = next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def sent(images: Tensor, device: torch.device) -> Tensor:
    """`images` on a device. To a GPU they go through pinned memory, so that the thread does not wait for the copy."""
    if device.type == "cuda" and images.device.type == "cpu":
        return images.pin_memory().to(device, non_blocking=True)
    return images.to(device)


def structured(module: nn.Module, width: int, height: int, count: int = 1, channels: int = 3) -> Tensor:
    """Test images (count, channels, height, width) on the module's device: waves, edges, a bright border, noise.

    They are the same every time. Noise alone averages out, so it would hide errors at a border and in pooling.
    """
    chance = torch.Generator().manual_seed(width * 10007 + height)
    down, across = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)[None]
    waves = torch.rand(count, channels, 4, 1, 1, generator=chance)
    images = torch.sin(12 * waves[:, :, 0] * down + 6 * waves[:, :, 1]) + torch.cos(9 * waves[:, :, 2] * across)
    images += 1.5 * ((down > waves[:, :, 3]) ^ (across > waves[:, :, 1])) - 0.75
    images += 0.5 * torch.randn(count, channels, height, width, generator=chance)
    images[..., 0], images[..., -1, :] = images[..., 0] + 2, images[..., -1, :] - 1.5
    return images.to(device_of(module))
