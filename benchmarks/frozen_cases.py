"""The cases of frozen.py: pictures, a small network with random weights, explanations, and invalid requests."""

from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import copy

import numpy as np
import torch
from frozen_net import small, tiny, tokens
from PIL import Image

EMBEDDED = "efficientnet-lite0"
MADE = {network.__name__: network for network in (small, tiny, tokens)}
# Names of options in HTTP; the command line has dashes, and in Python they belong to three calls.
LOOK = {"alpha", "colormap", "contour", "boxes", "legend", "signed", "scale"}
ASKED = {"at", "region", "polygons"}
Value = str | int | float | bool


@dataclass(frozen=True)
class Case:
    """One explanation. image: of `pictures`. engine: of compute.engine; auto is OpenVINO for the embedded model."""

    image: str
    options: dict[str, Value] = field(default_factory=dict)
    model: str = EMBEDDED
    engine: str = "auto"


CASES = {
    "as it comes": Case("photo.png"),
    "as it comes, torch": Case("photo.png", engine="torch"),
    "cam of a grey strip": Case("strip.png", {"method": "cam"}),
    "gradcam": Case("photo.png", {"method": "gradcam", "target": "tiger cat"}),
    "gradcam, torch": Case("photo.png", {"method": "gradcam", "target": "tiger cat"}, engine="torch"),
    "layercam of two layers": Case("other.jpg", {"method": "layercam", "layer": "blocks.4,blocks.10"}),
    "output stride 16": Case("photo.png", {"output_stride": 16}),
    "sharp": Case("waves.png", {"sharp": True}),
    "a - b": Case("photo.png", {"target": "tiger cat-Egyptian cat"}),
    "-a": Case("photo.png", {"target": "-tiger cat", "method": "gradcam++"}),
    "log-softmax": Case("other.jpg", {"quantity": "log-softmax", "method": "gradcam"}),
    "crop": Case("other.jpg", {"size": "crop"}),
    "native": Case("turned.jpg", {"size": "native"}),
    "320": Case("strip.png", {"size": "320"}),
    "signed": Case("photo.png", {"signed": True, "legend": True, "scale": 20.0}),
    "contour and boxes": Case("other.jpg", {"contour": 0.5, "boxes": 0.4, "colormap": "viridis", "alpha": 0.6}),
    "questions": Case("photo.png", {"at": "60,50", "region": "10,20,90,75", "polygons": True}),
    "small": Case("waves.png", model="small"),
    "small, torch": Case("waves.png", {"size": "native"}, "small", "torch"),
    "small, scorecam": Case("photo.png", {"method": "scorecam", "target": "wren"}, "small"),
    "tokens": Case("photo.png", model="tokens"),
    "tokens, legrad": Case("turned.jpg", {"method": "legrad", "target": "tit-finch"}, "tokens"),
    "small, layer and class by index": Case(
        "strip.png", {"method": "xgradcam", "layer": "layer3", "target": 2}, "small"
    ),
}
# Invalid requests.
WRONG: list[dict[str, Value]] = [
    {"method": "grad_cam"},
    {"target": "tigre cat"},
    {"layer": "block.3"},
    {"size": "huge"},
    {"output_stride": 5},
    {"region": "1,2,3"},
    {"at": "900,900"},
    {"colormap": "hot and cold"},
    {"scale": 5.0, "sharp": True},
]


def write_pictures(folder: Path) -> None:
    """waves.png, strip.png (grey, narrow), turned.jpg (by EXIF), photo.png, other.jpg; broken.jpg, still.txt."""
    folder.mkdir()
    waves(0, (181, 120)).save(folder / "waves.png")
    waves(1, (211, 37)).convert("L").save(folder / "strip.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    waves(2, (97, 150)).save(folder / "turned.jpg", quality=90, exif=exif)
    spec = find_spec("skimage")
    places = spec.submodule_search_locations if spec else None
    if places:
        copy(Path(places[0]) / "data" / "chelsea.png", folder / "photo.png")
        copy(Path(places[0]) / "data" / "rocket.jpg", folder / "other.jpg")
    else:
        waves(3, (300, 200)).save(folder / "photo.png")
        waves(4, (200, 160)).save(folder / "other.jpg", quality=90)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8 no photograph")
    (folder / "still.txt").write_text("not an image by its name")


def waves(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of waves and grain in RGB, (W, H), another one for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[1], : size[0]]
    turns, slant, phase = rng.uniform(0.02, 0.3, 3), rng.uniform(-0.2, 0.2, 3), rng.uniform(0, 6, 3)
    light = 128 + 90 * np.sin(x[..., None] * turns + y[..., None] * slant + phase) + rng.normal(0, 12, (*x.shape, 3))
    return Image.fromarray(light.clip(0, 255).astype(np.uint8))


def write_networks(folder: Path) -> None:
    """net.py with the factories of MADE, their weights as small.pth and so on, and labels.txt."""
    copy(Path(__file__).parent / "frozen_net.py", folder / "net.py")
    for name, make in MADE.items():
        torch.save(make().state_dict(), folder / f"{name}.pth")
    (folder / "labels.txt").write_text("finch\nsparrow\nwren\nrobin\ntit\n")
