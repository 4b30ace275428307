"""What is measured: which engines, networks and photographs, and how much of each."""

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

# Photographs in scikit-image's wheel, CC0 and public domain, that fill their frame.
_PHOTOS = ("chelsea.png", "coffee.png", "astronaut.png", "rocket.jpg")


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    model: a card or an architecture. engines: who runs networks, by name. repeats: of what takes milliseconds.
    quick: a smoke run. openvino_xai: the Python of an environment with openvino-xai, if any. patience: seconds after
    which one explanation is given up.
    """

    model: str = "efficientnet-lite0"
    engines: tuple[str, ...] = ("torch",)
    repeats: int = 60
    quick: bool = False
    openvino_xai: str | None = None
    patience: float = 120

    def choose(self, full: int, quick: int) -> int:
        """`full`, in a smoke run `quick`."""
        return quick if self.quick else full

    @property
    def thread_counts(self) -> list[int]:
        """One, and as many as there are cores granted; in a smoke run one."""
        return [1] if self.quick else sorted({1, granted_cores()})


def engines() -> list[str]:
    """The engines that are installed."""
    return ["torch", *(["openvino"] if find_spec("openvino") else [])]


def settings(engine: str, threads: int = 1, workers: int = 0, precision: str = "float32") -> Settings:
    """The settings in which `engine` runs networks, with so many intra-op threads in each of so many workers."""
    compute = {"engine": engine, "cache": cache_folder(), "threads": threads, "workers": workers}
    compute |= {"precision": precision}
    return load_settings(overrides={"compute": compute})


def environment(engine: str) -> dict[str, str]:
    """The same for a process of its own."""
    return {"CAMSERVE_COMPUTE_ENGINE": engine, "CAMSERVE_COMPUTE_CACHE": cache_folder()}


def cache_folder() -> str:
    """Where this run keeps converted networks: a new folder, so that the user's own keeps the user's models."""
    return _cache().name


@cache
def _cache() -> tempfile.TemporaryDirectory[str]:
    """Taken away when the process ends."""
    return tempfile.TemporaryDirectory(prefix="camserve-benchmarks-")


def load(
    source: str | nn.Module, engine: str, threads: int = 1, workers: int = 0, precision: str = "float32"
) -> camserve.Model:
    """A model on an engine; workers: 0, one a core. Raises Skipped where the engine does not take it."""
    chosen = settings(engine, threads, workers, precision)
    try:
        return camserve.load(source, settings=chosen)
    except ConfigError as error:
        raise Skipped(str(error)) from None


def noise(batch: int, side: int) -> torch.Tensor:
    """An input (batch, 3, side, side)."""
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))


def photographs(count: int, size: tuple[int, int]) -> list[Image.Image]:
    """Real photographs, RGB of `size` (W, H): parts of those that scikit-image brings. Raises Skipped without it."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise Skipped('scikit-image, whose photographs are used, is not installed: pip install -e ".[dev]"')
    folder = Path(spec.submodule_search_locations[0]) / "data"
    whole = [Image.open(folder / name).convert("RGB") for name in _PHOTOS]
    rng = np.random.default_rng(0)
    return [_part(whole[number % len(whole)], size, rng) for number in range(count)]


def _part(photo: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A part of `photo` of the shape of `size`, at least 0.7 of its extent, resized."""
    share = min(photo.width / size[0], photo.height / size[1]) * rng.uniform(0.7, 1)
    width, height = share * size[0], share * size[1]
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    return photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))


def jpeg(photo: Image.Image) -> bytes:
    """`photo` as cameras' programs write it."""
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> Sequence[Path]:
    """The same as JPEG files in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.jpg" for number in range(count)]
    for path, photo in zip(paths, photographs(count, size), strict=True):
        path.write_bytes(jpeg(photo))
    return paths
