"""One layer of a model, prepared for explanations: cut, its head recognised, its cells placed."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import fx, nn

from camserve.config.schema import Compute
from camserve.errors import CamserveError, CutError, ModelError, SizeError, first_line, is_interrupt
from camserve.geometry.cells import Cells, centred_offset, stride_of
from camserve.geometry.frame import Frame, Pair, Placement
from camserve.geometry.receptive_field import Field
from camserve.graph.cut import Cut
from camserve.graph.devices import device_of, sent
from camserve.graph.head_recognition import head_of
from camserve.graph.heads import Carried, Head
from camserve.graph.linearity import head_by_numbers
from camserve.graph.network import Network
from camserve.graph.original.agreement import TOLERANCE, apart, same
from camserve.graph.original.guard import difference
from camserve.models.engines.engine import Engine, TorchEngine, engine_for, prepared
from camserve.models.inputs.calibration_photos import Calibration

log = logging.getLogger("camserve")


class Layer:
    """A layer at which a model is cut.

    name: as the user writes it. engine: runs the network; on_torch: the same on torch. head: the network after the
    layer. cells: where they lie. trained: (w, h) of the training input, pixels; image: makes an image of
    that size, as `Given.image`. output_stride: dilate the network to
    this stride; None: do not dilate. offset: the pixel (x, y) of the first cell at the training size, if it was
    measured. compute: chooses the engine; None: torch. calibration: for int8.
    Raises UnknownName, OptionError, ConfigError.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        output_stride: int | None = None,
        offset: Pair | None = None,
        compute: Compute | None = None,
        calibration: Calibration | None = None,
    ) -> None:
        self._cut = network.cut(name, output_stride)
        self.name, self.trained, self.image = name, network.given.size, network.given.image
        self._device = device_of(network.given)
        self._is_dilated = output_stride is not None
        self.on_torch = self._on_torch(network, dilated=self._is_dilated)
        self.engine: Engine = self.on_torch
        if compute is not None:
            self.engine = engine_for(self.on_torch, compute, network, f"layer '{name}'", calibration)
        self.head = self.on_torch.head
        self.cells = self._placed(self._cut, self._cut if output_stride is None else network.cut(name), offset)

    def _placed(self, cut: Cut, plain: Cut, measured: Pair | None) -> Cells:
        """plain: the cut without dilation. Dilation adds cells between these, so the first cell stays."""
        field, trained = plain.field(0), self.trained
        centred = centred_offset(field, trained, plain.cells, stride_of(field, trained, plain.cells))
        stride = stride_of(cut.field(0), trained, cut.cells)
        return Cells(trained, stride, centred, measured, cut.field, cut.period)

    @property
    def stride(self) -> Pair:
        """Input pixels between neighbouring cells, (x, y)."""
        return self.cells.stride

    @property
    def centred(self) -> Pair:
        """The pixel (x, y) of the first cell at the training size, by the centred rule."""
        return self.cells.centred

    def _on_torch(self, network: Network, *, dilated: bool) -> TorchEngine:
        """The two halves on torch, in the fastest way that gives the same answers as the network.

        Folds batch normalisation, and uses the head recognised by its structure or by its numbers, as
        long as no answer changes at any probed size. Raises CutError if even the plain halves give other answers.
        """
        plain = TorchEngine(self._cut.body, Head(self._cut.head))
        looks = replace(plain, body=prepared(self._cut.body), head=head_of(self._cut.head))
        unfolded, general = replace(looks, body=plain.body), replace(looks, head=plain.head)
        if dilated:  # its answers differ from the given network's, so compare it with its own cut
            images = self.image()
            return self._accounting(looks if same(looks(images)[2], unfolded(images)[2]) else unfolded)
        ways = [looks, unfolded, general, plain, replace(plain, channels_last=False)]
        different = {(engine.body, engine.head.kind, engine.channels_last): engine for engine in ways}
        for engine in different.values():
            if not engine.channels_last:  # `prepared` changed the layout of the weights
                engine.body.to(memory_format=torch.contiguous_format)
            missing = self._difference(network, engine)
            if not missing:
                return self._by_numbers(network, engine)
            log.warning("layer '%s' runs in a slower way, since %s", self.name, missing)
        if network.given.is_random:
            return plain
        raise CutError(
            f"cut at layer '{self.name}' the network gives other answers: {missing}. Some value bypasses the layer; "
            "choose another layer"
        )

    def _difference(self, network: Network, engine: TorchEngine) -> str:
        def run(images: torch.Tensor) -> torch.Tensor:
            activations, _, logits = engine(images)
            accounted = engine.head.accounted(activations)
            return logits if accounted is None else accounted

        return difference(network.given, run, sizes=1 if network.is_extended else None)

    def _by_numbers(self, network: Network, engine: TorchEngine) -> TorchEngine:
        """`engine`, with the head that its numbers show, if its structure is not known."""
        if engine.head.kind.has_class_maps:
            return engine
        images = self.image(count=2)
        activations, carried, _ = engine(images[:1])
        found = head_by_numbers(engine.head, activations, carried, engine.activations(images[1:])[1])
        made = replace(engine, head=found)
        return engine if found is engine.head or self._difference(network, made) else made

    def _accounting(self, engine: TorchEngine) -> TorchEngine:
        """`engine`; without the closed forms of the head if the maps do not add up to the logits."""
        activations, _, logits = engine(self.image())
        accounted = engine.head.accounted(activations)
        if accounted is None or apart(accounted, logits) <= TOLERANCE:
            return engine
        return replace(engine, head=Head(engine.head.module))

    @property
    def body(self) -> nn.Module:
        """images (N, c, H, W) -> (activations, other inputs of the head), as it was cut."""
        return self._cut.body

    def observe(self, images: torch.Tensor) -> tuple[torch.Tensor, Carried, torch.Tensor]:
        """Activations (N, K, h, w), other inputs of the head, and logits (N, C).

        images: (N, c, H, W). Raises OptionError if the network does not take that size.
        """
        with self._taking(images):
            return self.engine(sent(images, self._device))

    def class_maps(self, images: torch.Tensor) -> torch.Tensor:
        """The CAM of every class, (N, C, h, w). The head does not run: logits are the maps' means plus the bias.

        images: (N, c, H, W). Raises OptionError as `observe`, and if the head has no class maps.
        """
        with self._taking(images):
            return self.engine.class_maps(sent(images, self._device))

    @property
    def gives_image_gradients(self) -> bool:
        """Whether `on_torch.image_gradients` are the network's own, not those of a dilated network or another head."""
        is_own = not self._is_dilated and self.head is self.on_torch.head
        return is_own and isinstance(self.on_torch.body, fx.GraphModule)

    @contextmanager
    def _taking(self, images: torch.Tensor) -> Iterator[None]:
        said = f"the network fails on an input of {images.shape[-1]} x {images.shape[-2]} pixels"
        try:
            yield
        except (CamserveError, MemoryError):
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            raise SizeError(f"{said}: {first_line(error)}. Try size=fit, crop or a larger number") from None
        except BaseException as error:  # foreign code
            if is_interrupt(error):
                raise
            raise ModelError(f"{said}: {type(error).__name__}: {first_line(error)}") from None

    def placement(self, frame: Frame, grid: tuple[int, int], *, centred: bool = False) -> Placement:
        """Where the cells of this layer sit in a photograph; see `camserve.geometry.cells`."""
        return self.cells.placement(frame, grid, centred=centred)

    def field(self, side: int | None = None, axis: int = 0) -> Field | None:
        """The receptive field, with the start of its cells along an axis of `side` pixels; see `Cells.field`."""
        return self.cells.field(side, axis)
