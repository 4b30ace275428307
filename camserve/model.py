"""The public Model: a classifier that can be asked why, and `load`, which makes one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from camserve.catalogue.method import Progress
from camserve.catalogue.option_metadata import option
from camserve.catalogue.options import ExplainOptions, Targeted, takes
from camserve.catalogue.targets import PREDICTED, TargetOption
from camserve.config.schema import Settings
from camserve.errors import CamserveError, OptionError, shown
from camserve.explain.pipeline import class_maps, explain, explain_classes, explain_many
from camserve.explain.run import Run
from camserve.explain.side_by_side import explain_methods
from camserve.explanation.contact_sheet import class_entries
from camserve.explanation.explanation import Explanation
from camserve.explanation.several import Explanations
from camserve.images.reading import Photo, Source
from camserve.models.architectures.hub_cache import fetch
from camserve.models.classifier import Classifier
from camserve.models.describing import LabelsOfEach
from camserve.models.foreign_code import foreign_code
from camserve.models.loading import parts_of

if TYPE_CHECKING:
    from torch import nn

    from camserve.evaluation.standings import Evaluation
    from camserve.models.inspection.summary import Inspection


@dataclass(frozen=True, kw_only=True)
class _Asked(ExplainOptions):
    progress: Progress | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.progress is not None and not callable(self.progress):
            raise OptionError(f"progress {shown(self.progress)} is no function of (forwards done, in all)")


@dataclass(frozen=True, kw_only=True)
class _AskedOne(_Asked, Targeted):
    pass


@dataclass(frozen=True, kw_only=True)
class _AskedMethods(_AskedOne):
    limit: float | None = option(
        None, "seconds that each method may take; one that would take longer is left out", float, above=0,
        unset="no end; 60 of all",
    )  # fmt: skip


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
        logits; default the predicted class. See `camserve.catalogue.targets`. Or another photograph, as a Path or as
        any image but text: why the two look alike to the features before the network's last linear layer; the
        explanation's `other` is about that one. For an embedding text is a path, too, and the default the image itself.
        Options that are left out come from the model's settings. For several methods or classes of one image see
        `explain_methods` and `explain_classes`.
        progress: called with (forwards done, in all) by methods that run many, on the thread that computes; what it
        raises ends the work and is raised here. Raises OptionError, ImageError.
        """
        return explain(self, image, self._meant(asked.target), asked, Run(progress=asked.progress))

    @takes(_Asked)
    def explain_classes(
        self, image: Source | Photo, targets: int | str | Sequence[TargetOption], asked: _Asked
    ) -> Explanations:
        """One explanation a target, all from one forward pass: a list that shows as a sheet.

        targets: several, each as `target` of `explain`; or a number: so many of the best classes; or "above 0.5": every
        class with a score of at least that. Options and errors: as for `explain`; OptionError where no class has that.
        """
        found = explain_classes(self, image, targets, asked, Run(progress=asked.progress))
        return Explanations.of(class_entries(found))

    @takes(_AskedMethods)
    def explain_methods(
        self, image: Source | Photo, methods: str | Sequence[str], asked: _AskedMethods
    ) -> Explanations:
        """One explanation a method, in that order: a list that shows as a sheet, with its `left_out`.

        methods: a list of names, "cam,layercam", or "all". A method that is named and does not go with this model is an
        OptionError; of "all" such a method is left out, with the reason. Options and errors: as for `explain`.
        """
        run = Run(progress=asked.progress, deadline=asked.limit)
        return explain_methods(self, image, methods, self._meant(asked.target), asked, run)

    @takes(_AskedMany)
    def explain_many(self, images: Iterable[Source], asked: _AskedMany) -> Iterator[Explanation | CamserveError]:
        """Explanations in the order of `images`, while the next ones are being read: bounded memory, any number.

        errors: "raise" ends the iteration at the first image that fails; "yield" gives its CamserveError in its
        place and goes on. target: one for all, or a list with one an image. Other options: as for `explain`.
        """
        run = Run(progress=asked.progress)
        return explain_many(self, images, asked.target, asked, run, errors=asked.errors)

    def _meant(self, target: TargetOption) -> TargetOption:
        """The target; of an embedding, which has no classes to name, text is the path of a photograph."""
        if self.card.scores == "embedding" and isinstance(target, str) and target not in (PREDICTED, "", *self.labels):
            return Path(target)
        return target

    def class_maps(
        self, image: Source | Photo, *, size: str | int | None = None, output: str | int | None = None
    ) -> npt.NDArray[np.float32]:
        """The CAM of every class from one forward pass, float32 (C, h, w), in logits.

        mean(map_c) + bias_c = logit_c. Raises OptionError where the head is not GAP + linear.
        """
        return class_maps(self, image, ExplainOptions(size=size, output=output))

    def evaluate(
        self,
        explanation: Explanation,
        metrics: Sequence[str] | None = None,
        inside: npt.NDArray[np.bool_] | None = None,
    ) -> dict[str, float | None]:
        """The metrics of one explanation that this model made; None where one has no value here.

        metrics: names of `camserve.catalogue.metrics`, see `camserve metrics`; default insertion and deletion, with
        `inside` also pointing and pixel_ap. inside: bool (H, W), where the object is in the photograph. Raises
        OptionError, UnknownName.
        """
        from camserve.evaluation.comparing_methods import evaluate  # takes time to load, and few need it

        return evaluate(self, explanation, metrics, inside)

    def compare_methods(
        self,
        images: Source | Photo | Iterable[Source | Photo],
        methods: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        classes: Sequence[int | str] | None = None,
        objects: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    ) -> "Evaluation":
        """Which method explains this model best on these images: figures, order, recommendation and its reasons.

        images: one, or a list. methods, metrics: names; what is usual where None. classes: of each image the one that
        it shows; without it the predicted one is explained, and there are no mosaics (grid_pg). objects: of each image
        where the object is, bool (H, W), or None. `print` shows a table; `to_dict()` gives all numbers. Raises
        OptionError, UnknownName, ImageError.
        """
        from camserve.evaluation.comparing_methods import compare_methods

        return compare_methods(self, images, methods, metrics, classes, objects)

    def inspect(self) -> "Inspection":
        """What every layer gives and costs, the head, and the sizes of input taken; see models/inspection/."""
        from camserve.models.inspection.summary import inspect_model  # torch

        return inspect_model(self)


def load(
    source: "str | Path | nn.Module | None" = None,
    *,
    weights: str | Path | None = None,
    key: str | None = None,
    labels: LabelsOfEach | None = None,
    aliases: Mapping[str, str] | None = None,
    layer: str | None = None,
    output: str | int | None = None,
    scores: str | None = None,
    region: Sequence[float] | None = None,
    arguments: Mapping[str, Any] | None = None,
    download: bool = False,
    templates: Sequence[str] | None = None,
    tokenizer: Any = None,
    settings: Settings | None = None,
    **input_options: Any,
) -> Model:
    """Make a classifier ready to be explained.

    source: a card's name ("efficientnet-lite0", the default), the path of a card, an architecture such as
    "torchvision:resnet18", "timm:NAME", "hf:FOLDER", "package.module:factory" or "./net.py:factory", whose code is run;
    a model file such as "net.onnx"; or an nn.Module, of which a snapshot is taken: the module itself is never touched.
    weights: for an architecture, a checkpoint; see `camserve.models.weights.checkpoints`; or "DEFAULT", what the local
    cache of torchvision or timm holds. key: which state dict of that file, where it holds several, as in
    "ema.state_dict". labels: class names in the order of the logits, a dict from index to
    name or from name to index, a text file with one a line, or "imagenet"; of a network with several outputs also a
    dict from output to any of these. aliases: more names of classes, as in {"moggy": "tabby"}. layer: where to look;
    found by itself where not given. output: which part of the network's answer holds the logits, where it has several
    that could: the name of a field, a way such as "heads.colour", or an index; the others can be asked for by the
    option `output` of `explain`.
    scores: "softmax" (default); for multi-label heads "sigmoid"; for numbers, as of regression, "none"; for
    features of the image "embedding". region: of segmentation networks and detectors, which part of the input is
    explained: left, top, right, bottom, as shares of its sides; default all of it. arguments: what
    the network's forward gets besides images, by name, the same for every picture; see `camserve.models.arguments`.
    templates, tokenizer: of models that compare images with sentences ("clip:FOLDER", or a module such as CLIPModel),
    whose labels are sentences: prompts as ["a photo of a {}"], and what reads them where a module does not say.
    download: whether "hf:OWNER/NAME" or "timm:hf-hub:OWNER/NAME" is fetched where it is not on this machine; without it
    nothing ever is.
    input_options: fields of `camserve.models.card.Input` (size, channels, mean, std ...). What is not given of these,
    of labels and of scores is as the network's own library states it, also of a module of timm or transformers; else
    the input is ImageNet's usual one. A card says all these but labels, layer and output itself.
    Raises ModelNotFound, UnknownName, OptionError, ModelError.
    """
    own = {
        "weights": weights,
        "key": key,
        "scores": scores,
        "region": region,
        "arguments": arguments,
        "aliases": aliases,
        "templates": templates,
        "tokenizer": tokenizer,
        **input_options,
    }
    if download:
        fetch(str(source))
    with foreign_code(f"the network of {shown(source)}" if isinstance(source, str | Path) else "the network"):
        return Model(parts_of(source, labels=labels, layer=layer, settings=settings, own=own, output=output))
