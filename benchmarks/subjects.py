"""The subjects of the benchmarks: engines, networks and photographs, and how many of each."""

import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from measuring import Skipped
from PIL import Image
from torch import nn

import camserve
from camserve.config import Settings, load_settings
from camserve.errors import ConfigError
from camserve.system.cores import granted_cores

# One of camserve's own photographs.
PHOTO = Path(__file__).parent.parent / "photos" / "cat.jpg"
# Photographs in scikit-image's wheel, CC0 and public domain, without borders.
_PHOTOS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    model: a card or an architecture. engines: names of engines. repeats: of works that take milliseconds. quick: a
    smoke run. openvino_xai: the Python of an environment with openvino-xai, if any. patience: seconds after which an
    explanation is stopped. old: a checkout of an earlier version, if any.
    """

    model: str = "efficientnet-lite0"
    engines: tuple[str, ...] = ("torch",)
    repeats: int = 60
    quick: bool = False
    openvino_xai: str | None = None
    patience: float = 120
    old: Path | None = None

    def choose(self, full: int, quick: int) -> int:
        """Return `full`, or `quick` in a smoke run."""
        return quick if self.quick else full

    @property
    def thread_counts(self) -> list[int]:
        """Return 1 and the number of available cores; only 1 in a smoke run."""
        return [1] if self.quick else sorted({1, granted_cores()})


def engines() -> list[str]:
    """Return the installed engines."""
    return ["torch", *(["openvino"] if find_spec("openvino") else [])]


def settings(engine: str, threads: int = 1, workers: int = 0, precision: str = "float32") -> Settings:
    """Return settings for `engine`, with `threads` intra-op threads in each of `workers` workers."""
    compute = {"engine": engine, "cache": cache_folder(), "threads": threads, "workers": workers}
    compute |= {"precision": precision}
    return load_settings(overrides={"compute": compute})


def environment(engine: str) -> dict[str, str]:
    """Return the same settings as environment variables for a new process."""
    return {"CAMSERVE_COMPUTE_ENGINE": engine, "CAMSERVE_COMPUTE_CACHE": cache_folder()}


def cache_folder() -> str:
    """Return a new folder for this run's converted networks, so that the user's own cache is not changed."""
    return _cache().name


@cache
def _cache() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="camserve-benchmarks-")


def load(
    source: str | nn.Module, engine: str, threads: int = 1, workers: int = 0, precision: str = "float32"
) -> camserve.Model:
    """Load a model on an engine. workers: 0 means one per core. Raises Skipped if the engine cannot run it."""
    chosen = settings(engine, threads, workers, precision)
    try:
        return camserve.load(source, settings=chosen)
    except ConfigError as error:
        raise Skipped(str(error)) from None


def noise(batch: int, side: int) -> torch.Tensor:
    """Return a random input (batch, 3, side, side)."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def photographs(count: int, size: tuple[int, int]) -> list[Image.Image]:
    """Return real photographs, RGB of `size` (W, H): parts of scikit-image's. Raises Skipped without scikit-image."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise Skipped('scikit-image, whose photographs are used, is not installed: pip install -e ".[dev]"')
    folder = Path(spec.submodule_search_locations[0]) / "data"
    whole = [Image.open(folder / name).convert("RGB") for name in _PHOTOS]
    rng = np.random.default_rng(0)
    return [_part(whole[number % len(whole)], size, rng) for number in range(count)]


def _part(photo: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a part of `photo` in the shape of `size`, at least 0.7 of its extent, resized."""
    share = min(photo.width / size[0], photo.height / size[1]) * rng.uniform(0.7, 1)
    width, height = share * size[0], share * size[1]
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    return photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))


def jpeg(photo: Image.Image) -> bytes:
    """Return `photo` as a JPEG like a camera's."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> Sequence[Path]:
    """Write such photographs as JPEG files into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for path, photo in zip(paths, photographs(count, size), strict=True):
        path.write_bytes(jpeg(photo))
    return paths
