"""Who runs the network: images in; activations, logits and class maps out, without autograd."""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

import torch

from camserve.config import Compute
from camserve.devices import noise
from camserve.engines.torch_engine import TorchEngine, prepared
from camserve.errors import ConfigError, EngineError
from camserve.heads import Carried

__all__ = ["Engine", "TorchEngine", "engine_for", "prepared"]

log = logging.getLogger("camserve")

# How far an engine may be from torch, as a share of the largest value. Float32 sums of some thousand terms in another
# order differ by about 1e-5 of it.
AGREEMENT = 1e-4
# In bfloat16, whose numbers are 0.4 % apart, the embedded model's activations differ by up to 4 %.
_AGREEMENTS = {"float32": AGREEMENT, "bfloat16": 0.1}


class Engine(Protocol):
    """What a layer asks of whoever runs it. name: as in the setting compute.engine."""

    @property
    def name(self) -> str: ...

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried, torch.Tensor]:
        """(N, 3, H, W) -> activations (N, K, h, w), what the head needs besides, and logits (N, C)."""
        ...

    def class_maps(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) -> the CAM of every class, (N, C, h, w). Raises OptionError where there is none."""
        ...


def engine_for(torch_engine: TorchEngine, compute: Compute, sizes: Sequence[tuple[int, int]], what: str) -> Engine:
    """The engine that the settings ask for; "auto" takes OpenVINO where it is installed, works and agrees with torch.

    sizes: inputs (w, h) at which it must agree; where there are several, any other works too. what: whose engine it
    is, for messages. Raises ConfigError where OpenVINO is asked for by name and cannot be had.
    """
    if compute.engine == "torch" or (compute.engine == "auto" and not _may_be_openvino(compute)):
        return torch_engine
    try:
        from camserve.engines.openvino_engine import OpenVinoEngine

        engine = OpenVinoEngine(torch_engine, compute, any_size=len(sizes) > 1, example=sizes[0])
        for size in sizes:
            _check_agreement(engine, torch_engine, size, _AGREEMENTS[compute.precision])
    except (EngineError, ImportError) as error:
        if compute.engine == "openvino":
            raise ConfigError(
                f"compute.engine = 'openvino' cannot run {what}: {error}. 'auto' and 'torch' can"
            ) from None
        log.warning("OpenVINO cannot run %s (%s); torch does", what, error)
        return torch_engine
    return engine


def _may_be_openvino(compute: Compute) -> bool:
    return compute.device == "cpu" and find_spec("openvino") is not None


def _check_agreement(engine: Engine, torch_engine: TorchEngine, size: tuple[int, int], limit: float) -> None:
    """Raises EngineError where the two differ on noise of that size by more than that share of the largest value."""
    images = noise(torch_engine.body, *size)
    try:
        ours, ours_carried, our_logits = engine(images)
    except RuntimeError as error:
        raise EngineError(f"at {size[0]} x {size[1]} it fails: {error}") from None
    theirs, theirs_carried, their_logits = torch_engine(images)
    pairs = [(ours, theirs), (our_logits, their_logits), *zip(ours_carried, theirs_carried, strict=True)]
    for one, other in pairs:
        if one.shape != other.shape:
            raise EngineError(f"at {size[0]} x {size[1]} it gives {tuple(one.shape)}, torch {tuple(other.shape)}")
        missing = float((one - other).abs().max())
        if not missing <= limit * float(other.abs().max()):
            raise EngineError(f"at {size[0]} x {size[1]} it differs from torch by {missing:.2g}")
