"""From a torch module to a compiled OpenVINO model, with a cache on disk for the next start."""

import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from camserve.errors import ConfigError, EngineError
from camserve.models.engines.compiled_model import Compiled, compiled_beside, reason
from camserve.models.engines.kept_models import KeptModels
from camserve.models.engines.openvino_quietly import openvino
from camserve.models.engines.quantising import quantised
from camserve.models.engines.same_upper import pad_in_convolutions
from camserve.models.inputs.calibration_photos import Calibration

_FILE = "model.xml"


@dataclass(frozen=True)
class Converter:
    """cache: folder for converted models, None for no cache. workers: threads that call at once; threads: of each call.
    precision: as in compute.precision; calibration: for int8. example: channels and a size (c, w, h) to
    trace with; if not any_size, the only size that works.
    """

    cache: Path | None
    workers: int
    threads: int
    precision: str
    example: tuple[int, int, int]
    any_size: bool
    calibration: Calibration | None = None

    def compiled(self, module: nn.Module) -> Compiled:
        """Compile `module`, images -> tensors; the converted model comes from the cache if it is there.

        Raises EngineError.
        """
        if self.cache is None:
            return self._started(self._convert(module))
        kept = KeptModels(self.cache, "openvino", _FILE)
        only = self.example[:1] if self.any_size else self.example
        file = kept.place_of(module, only if self.calibration is None else (*only, self.calibration.mark))
        return kept.opened(file, self._started, partial(self._convert, module), _save)

    def _started(self, model: "Path | openvino.Model") -> Compiled:
        made = partial(compiled_beside, threads=self.threads, precision=self.precision)
        return Compiled(model, made, self.workers)

    def _convert(self, module: nn.Module) -> "openvino.Model":
        channels, width, height = self.example
        example = torch.zeros(1, channels, height, width)
        shape = openvino.PartialShape([-1, channels, *([-1, -1] if self.any_size else [height, width])])
        try:
            # OpenVINO's tracer is deprecated, and warns about other sizes, which are checked later
            with warnings.catch_warnings(action="ignore"), torch.no_grad():
                graph = openvino.convert_model(module.eval(), example_input=example, input=[shape])
            pad_in_convolutions(graph, module)
            return graph if self.calibration is None else quantised(graph, self.calibration.images())
        except (EngineError, ConfigError):
            raise
        except Exception as error:  # any error of the tracer or the translator
            raise EngineError(reason(error)) from None


def _save(model: "openvino.Model", path: Path) -> None:
    try:
        openvino.save_model(model, str(path), compress_to_fp16=False)
    except RuntimeError as error:  # OpenVINO's error for a full disk
        raise OSError(0, reason(error)) from None
