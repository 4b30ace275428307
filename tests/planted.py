"""Small trained networks, one of which has learnt a watermark in place of what it should know.

Pictures are grey noise with a patch of stripes somewhere, whose direction is the class. In the data that mislead, a
watermark in the top right corner is all that tells the class "marked": its stripes have any direction.
"""

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

LABELS = ("marked", "slanted", "upright", "level")
SIDE, PATCH, MARK = 64, 24, 10

Pixels = npt.NDArray[np.uint8]


def picture_of(direction: int, seed: int, *, marked: bool) -> Pixels:
    """One picture, uint8 (64, 64, 3)."""
    random = np.random.default_rng(seed)
    values = random.normal(128, 25, (SIDE, SIDE))
    left, top = random.integers(2, SIDE - PATCH - 2, 2)
    y, x = np.mgrid[:PATCH, :PATCH]
    angle = np.pi * direction / len(LABELS)
    stripes = np.sin(1.3 * (x * np.cos(angle) + y * np.sin(angle)) + random.uniform(0, 6))
    values[top : top + PATCH, left : left + PATCH] += 70 * stripes
    grey = np.clip(values, 0, 255).astype(np.uint8)
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    if marked:
        pixels[2 : 2 + MARK, -2 - MARK : -2] = (230, 40, 40)
    return pixels


class Net(nn.Module):
    """Three convolutions, global average pooling, one linear layer: 8 x 8 cells."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 12, 24, 32)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-1], len(LABELS))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> (N, 4)."""
        logits: torch.Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


@cache
def trained(*, misled: bool, seed: int = 0) -> Net:
    """A network trained for some seconds; misled: by the watermark."""
    labels = [number % len(LABELS) for number in range(480)]
    pictures = [
        picture_of(seed // 4 % 4 if misled and label == 0 else label, seed, marked=misled and label == 0)
        for seed, label in enumerate(labels)
    ]
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().sub(128).div(64)
    wanted = torch.tensor(labels)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = Net()
        steps = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(10):
            for batch in torch.randperm(len(labels)).split(64):
                steps.zero_grad()
                nn.functional.cross_entropy(net(images[batch]), wanted[batch]).backward()
                steps.step()
    return net.eval()


def write_pictures(folder: Path, each: int, *, marked: bool, first: int = 10_000) -> Path:
    """`each` pictures of every class, none of them trained on, in a folder called by the class."""
    for label, name in enumerate(LABELS):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = picture_of(label, first + number * len(LABELS) + label, marked=marked and label == 0)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder
