"""The interface of engines: images in; activations, logits and class maps out, without autograd."""

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import torch

from camserve.config.schema import Compute
from camserve.errors import ConfigError, EngineError
from camserve.graph.heads import Carried
from camserve.graph.network import Network
from camserve.graph.original.agreement import apart
from camserve.graph.original.given import Probe
from camserve.models.engines.torch_engine import TorchEngine, prepared

if TYPE_CHECKING:
    from camserve.models.engines.onnxruntime_engine import OnnxRuntimeEngine
    from camserve.models.engines.openvino_engine import OpenVinoEngine
    from camserve.models.inputs.calibration_photos import Calibration

__all__ = ["Engine", "TorchEngine", "engine_for", "prepared"]

log = logging.getLogger("camserve")

# Largest difference between an engine and torch: for logits a share of their spread, for activations of the largest
# one. Float32 sums of some thousand terms in another order differ by about 1e-5; activations of random weights by up
# to 2e-4.
AGREEMENT = 1e-4
# In bfloat16, whose numbers are 0.4 % apart, single activations of the embedded model differ by 7 to 15 % on the probes
# of the network, depending on the size; its logits by up to 3 %.
# In int8, the probes are noise unlike the calibration photographs: logits differ by up to 0.37, and some activations by
# the whole range of a ReLU6. `quantising` checks that photographs get the same answers.
AGREEMENTS = {"float32": (AGREEMENT, 1e-3), "bfloat16": (0.1, 0.3), "int8": (0.5, 1.0)}


class Engine(Protocol):
    """The interface of an engine, as a layer uses it.

    name: as in the setting compute.engine. precision: of its numbers, as in compute.precision. tolerance: largest
    difference by rounding between a map's sum and its logit, as a share.
    """

    @property
    def precision(self) -> str:
        """As above."""
        ...

    @property
    def tolerance(self) -> float:
        """As above."""
        ...

    @property
    def name(self) -> str:
        """As above."""
        ...

    def __call__(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried, torch.Tensor]:
        """(N, c, H, W) -> activations (N, K, h, w), the other inputs of the head, and logits (N, C)."""
        ...

    def class_maps(self, images: torch.Tensor) -> torch.Tensor:
        """(N, c, H, W) -> the CAM of every class, (N, C, h, w). Raises OptionError if the head has no class maps."""
        ...

    def forget_sizes(self) -> None:
        """Clear caches for input sizes seen before."""
        ...


def engine_for(
    torch_engine: TorchEngine, compute: Compute, network: Network, what: str, calibration: "Calibration | None" = None
) -> Engine:
    """The engine that the settings choose; "auto" uses OpenVINO if it is installed, works and agrees with torch.

    network: runs on both engines, which must agree on all its probes. what: the name of the network in
    messages. calibration: for int8. Raises ConfigError if the settings name OpenVINO, or int8, and it cannot be used.
    """
    if compute.engine == "torch" or (compute.engine == "auto" and not _may_be_openvino(compute)):
        if compute.device == "cpu" or compute.precision != "bfloat16":
            return torch_engine
        return _in_half_precision(torch_engine, compute, network, what)
    name = "openvino" if compute.engine == "auto" else compute.engine
    try:
        engine = _made(name, torch_engine, compute, network, calibration)
        _check_all(engine, torch_engine, network, compute)
    except (EngineError, ImportError) as error:
        if compute.engine != "auto":
            raise ConfigError(f"compute.engine = '{name}' cannot run {what}: {error}. 'auto' and 'torch' can") from None
        log.warning("OpenVINO cannot run %s (%s); torch runs it instead", what, error)
        return torch_engine
    return engine


def _in_half_precision(torch_engine: TorchEngine, compute: Compute, network: Network, what: str) -> Engine:
    """torch on a device in bfloat16, if that agrees with float32; else `torch_engine`."""
    from camserve.models.engines.half_precision import HalfPrecisionEngine

    try:
        engine = HalfPrecisionEngine(torch_engine)
        _check_all(engine, torch_engine, network, compute)
    except EngineError as error:
        log.warning("%s runs in float32, not in bfloat16: %s", what, error)
        return torch_engine
    return engine


def _made(
    name: str, torch_engine: TorchEngine, compute: Compute, network: Network, calibration: "Calibration | None"
) -> "OpenVinoEngine | OnnxRuntimeEngine":
    """The engine with that name. Its library is imported here, at the first use."""
    any_size, example = network.takes_any_size, (network.given.channels, *network.given.size)
    if name == "openvino":
        from camserve.models.engines.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(torch_engine, compute, any_size=any_size, example=example, calibration=calibration)
    from camserve.models.engines.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(torch_engine, compute, any_size=any_size, example=example)


def _may_be_openvino(compute: Compute) -> bool:
    return compute.device == "cpu" and find_spec("openvino") is not None


def _check_all(engine: Engine, torch_engine: TorchEngine, network: Network, compute: Compute) -> None:
    """Raise EngineError if the two engines differ on the network's probes."""
    for probe in network.given.probes:
        if probe.logits is not None or network.is_extended:
            _check_agreement(engine, torch_engine, probe, network, AGREEMENTS[compute.precision])


def _check_agreement(
    engine: Engine, torch_engine: TorchEngine, probe: Probe, network: Network, limits: tuple[float, float]
) -> None:
    """Raise EngineError if the two engines differ on a probe by more than the limits.

    limits: shares of the spread of the logits, and of the largest value of all other results. If class maps add up to
    the logits, they are compared with the probe's logits of the original network; else torch runs, too.
    """
    where = f"at {probe.size[0]} x {probe.size[1]}"
    try:
        ours, ours_carried, our_logits = engine(probe.images)
    except RuntimeError as error:
        if network.is_extended and probe.logits is None:  # for example, an input smaller than a window
            return
        raise EngineError(f"{where} it fails: {error}") from None
    accounted, rest = torch_engine.head.accounted(ours), list[tuple[torch.Tensor, torch.Tensor]]()
    if accounted is not None and probe.logits is not None and not network.is_extended:
        logits = [(our_logits, probe.logits), (accounted, probe.logits)]
    else:
        theirs, theirs_carried, their_logits = torch_engine(probe.images)
        logits, rest = [(our_logits, their_logits)], [(ours, theirs), *zip(ours_carried, theirs_carried, strict=True)]
    for one, other in logits:
        if not (missing := apart(one, other)) <= limits[0]:
            raise EngineError(f"{where} it differs from torch by {missing:.2g} of the spread of the logits")
    for one, other in rest:
        if one.shape != other.shape:
            raise EngineError(f"{where} it gives {tuple(one.shape)}, torch {tuple(other.shape)}")
        missing = float((one - other).abs().max())
        if not missing <= limits[1] * float(other.abs().max()):
            raise EngineError(f"{where} it differs from torch by {missing:.2g}")
