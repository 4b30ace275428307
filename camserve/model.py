"""The public Model: a classifier that can be asked why, and `load`, which makes one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from camserve.catalogue.options import ExplainOptions, Targeted, takes
from camserve.catalogue.targets import TargetOption
from camserve.config.schema import Settings
from camserve.errors import CamserveError
from camserve.explain.pipeline import class_maps, explain, explain_classes, explain_many
from camserve.explain.run import Run
from camserve.explanation.explanation import Explanation
from camserve.images.reading import Photo, Source
from camserve.methods.evidence import Progress
from camserve.models.classifier import Classifier
from camserve.models.inspection.summary import Inspection, inspect_model
from camserve.models.loading import LabelsOfEach, parts_of


@dataclass(frozen=True, kw_only=True)
class _Asked(ExplainOptions):
    progress: Progress | None = None


@dataclass(frozen=True, kw_only=True)
class _AskedOne(_Asked, Targeted):
    pass


@dataclass(frozen=True, kw_only=True)
class _AskedMany(_Asked):
    target: TargetOption | Sequence[TargetOption] = None
    errors: str = "raise"


class Model(Classifier):
    """A classifier that can be asked why. Made by `camserve.load`; safe to share between threads."""

    @takes(_AskedOne)
    def explain(self, image: Source | Photo, asked: _AskedOne) -> Explanation:
        """Why the model says what it says about one image.

        image: path, bytes, binary file, PIL image, uint8 array (H, W, 3) or a Photo already read.
        target: class index or name, "a-b" for a difference, "-a" for what speaks against a, or a function of the
        logits; default the predicted class. See `camserve.catalogue.targets`. Options that are left out come from the
        model's settings.
        progress: called with (forwards done, in all) by methods that run many, on the thread that computes; what it
        raises ends the work and is raised here. Raises OptionError, ImageError.
        """
        return explain(self, image, asked.target, asked, Run(progress=asked.progress))

    @takes(_Asked)
    def explain_classes(
        self, image: Source | Photo, targets: int | Sequence[TargetOption], asked: _Asked
    ) -> list[Explanation]:
        """One explanation a target, all from one forward pass.

        targets: several, each as `target` of `explain`; or a number: so many of the best classes. Options and errors:
        as for `explain`.
        """
        return explain_classes(self, image, targets, asked, Run(progress=asked.progress))

    @takes(_AskedMany)
    def explain_many(self, images: Iterable[Source], asked: _AskedMany) -> Iterator[Explanation | CamserveError]:
        """Explanations in the order of `images`, while the next ones are being read: bounded memory, any number.

        errors: "raise" ends the iteration at the first image that fails; "yield" gives its CamserveError in its
        place and goes on. target: one for all, or a list with one an image. Other options: as for `explain`.
        """
        run = Run(progress=asked.progress)
        return explain_many(self, images, asked.target, asked, run, errors=asked.errors)

    def class_maps(
        self, image: Source | Photo, *, size: str | int | None = None, output: str | int | None = None
    ) -> npt.NDArray[np.float32]:
        """The CAM of every class from one forward pass, float32 (C, h, w), in logits.

        mean(map_c) + bias_c = logit_c. Raises OptionError where the head is not GAP + linear.
        """
        return class_maps(self, image, ExplainOptions(size=size, output=output))

    def inspect(self) -> Inspection:
        """What every layer gives and costs, the head, and the sizes of input taken; see models/inspection/."""
        return inspect_model(self)


def load(
    source: str | Path | nn.Module | None = None,
    *,
    weights: str | Path | None = None,
    key: str | None = None,
    labels: LabelsOfEach | None = None,
    aliases: Mapping[str, str] | None = None,
    layer: str | None = None,
    output: str | int | None = None,
    scores: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    settings: Settings | None = None,
    **input_options: Any,
) -> Model:
    """Make a classifier ready to be explained.

    source: a card's name ("efficientnet-lite0", the default), the path of a card, an architecture such as
    "torchvision:resnet18", "timm:NAME", "package.module:factory" or "./net.py:factory", whose code is run; or an
    nn.Module, of which a snapshot is taken: the module itself is never touched.
    weights: for an architecture, a checkpoint; see `camserve.models.checkpoints`. key: which state dict of that file,
    where it holds several, as in "ema.state_dict". labels: class names in the order of the logits, a dict from index to
    name or from name to index, a text file with one a line, or "imagenet"; of a network with several outputs also a
    dict from output to any of these. aliases: more names of classes, as in {"moggy": "tabby"}. layer: where to look;
    found by itself where not given. output: which part of the network's answer holds the logits, where it has several
    that could: the name of a field, a way such as "heads.colour", or an index; the others can be asked for by the
    option `output` of `explain`.
    scores: "softmax" (default); for multi-label heads "sigmoid"; for numbers, as of regression, "none". arguments: what
    the network's forward gets besides images, by name, the same for every picture; see `camserve.models.arguments`.
    input_options: fields of `camserve.models.card.Input` (size, channels, mean, std ...); where not given, those of the
    architecture's own library, or ImageNet's usual ones. A card says all these but labels, layer and output
    itself. Raises ModelNotFound, UnknownName, OptionError, ModelError.
    """
    own = {
        "weights": weights,
        "key": key,
        "scores": scores,
        "arguments": arguments,
        "aliases": aliases,
        **input_options,
    }
    return Model(parts_of(source, labels=labels, layer=layer, settings=settings, own=own, output=output))
