"""The public Model, a classifier that explains its answers, and `load`, which makes a Model."""

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
            raise OptionError(f"progress {shown(self.progress)} is not a function of (passes done, passes in all)")


@dataclass(frozen=True, kw_only=True)
class _AskedOne(_Asked, Targeted):
    pass


@dataclass(frozen=True, kw_only=True)
class _AskedMethods(_AskedOne):
    limit: float | None = option(
        None, "seconds that each method may take; a method that needs longer is left out", float, above=0,
        unset='no limit; 60 for "all"',
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _AskedMany(_Asked):
    target: TargetOption | Sequence[TargetOption] = None
    errors: str = "raise"


class Model(Classifier):
    """A classifier that explains its answers. `camserve.load` makes it; threads can share it safely."""

    @takes(_AskedOne)
    def explain(self, image: Source | Photo, asked: _AskedOne) -> Explanation:
        """Explain the model's answer for one image.

        image: path, bytes, binary file, PIL image, uint8 array (H, W, 3) or a Photo.
        target: class index or name, "a-b" for a difference, "-a" for what speaks against a, or a function of the
        logits; default the predicted class. See `camserve.catalogue.targets`. The target can also be a second
        photograph: a Path or any other kind of image, but not text. The explanation then shows why the features before
        the network's last linear layer are alike for both, and its `other` explains the second photograph. For an
        embedding, text is a path too, and the default target is the image itself.
        An option that you leave out comes from the model's settings. For several methods or classes of one image see
        `explain_methods` and `explain_classes`.
        progress: a function of (forward passes done, forward passes in all). Methods with many forward passes call it
        on the thread that computes. An error that it raises ends the work and is raised here. Raises OptionError,
        ImageError.
        """
        return explain(self, image, self._meant(asked.target), asked, Run(progress=asked.progress))

    @takes(_Asked)
    def explain_classes(
        self, image: Source | Photo, targets: int | str | Sequence[TargetOption], asked: _Asked
    ) -> Explanations:
        """Explain several classes of one image with one forward pass; a notebook shows the list as a sheet.

        targets: a list of targets as `explain` takes them; or a number n, for the n classes with the highest scores; or
        "above 0.5", for every class with a score of 0.5 or more. Options and errors are those of `explain`. Raises
        OptionError if no class has that score.
        """
        found = explain_classes(self, image, targets, asked, Run(progress=asked.progress))
        return Explanations.of(class_entries(found))

    @takes(_AskedMethods)
    def explain_methods(
        self, image: Source | Photo, methods: str | Sequence[str], asked: _AskedMethods
    ) -> Explanations:
        """Explain one image with several methods, in their order; a notebook shows the list as a sheet.

        methods: a list of names, "cam,layercam", or "all". A named method that does not work with this model raises
        OptionError; "all" leaves such methods out, and `left_out` of the result has the reasons. Options and errors are
        those of `explain`.
        """
        run = Run(progress=asked.progress, deadline=asked.limit)
        return explain_methods(self, image, methods, self._meant(asked.target), asked, run)

    @takes(_AskedMany)
    def explain_many(self, images: Iterable[Source], asked: _AskedMany) -> Iterator[Explanation | CamserveError]:
        """Explain any number of images, in their order. The next images are read meanwhile; memory is bounded.

        errors: "raise" ends the iteration at the first image that fails; "yield" gives the CamserveError in place of
        the explanation and continues. target: one target for all images, or a list with one target for each image.
        Other options are those of `explain`.
        """
        run = Run(progress=asked.progress)
        return explain_many(self, images, asked.target, asked, run, errors=asked.errors)

    def _meant(self, target: TargetOption) -> TargetOption:
        """Return the target. An embedding has no class names, so for it a text is the path of a photograph."""
        if self.card.scores == "embedding" and isinstance(target, str) and target not in (PREDICTED, "", *self.labels):
            return Path(target)
        return target

    def class_maps(
        self, image: Source | Photo, *, size: str | int | None = None, output: str | int | None = None
    ) -> npt.NDArray[np.float32]:
        """Return the CAM of every class from one forward pass, float32 (C, h, w), in logits.

        mean(map_c) + bias_c = logit_c. Raises OptionError if the head is not GAP + linear.
        """
        return class_maps(self, image, ExplainOptions(size=size, output=output))

    def evaluate(
        self,
        explanation: Explanation,
        metrics: Sequence[str] | None = None,
        inside: npt.NDArray[np.bool_] | None = None,
    ) -> dict[str, float | None]:
        """Measure one explanation that this model made. A metric that has no value here is None.

        metrics: names of `camserve.catalogue.metrics`, see `camserve metrics`; default insertion and deletion, with
        `inside` also pointing and pixel_ap. inside: bool (H, W), where the object is in the photograph. Raises
        OptionError, UnknownName.
        """
        from camserve.evaluation.comparing_methods import evaluate  # slow to import, and rarely needed

        return evaluate(self, explanation, metrics, inside)

    def compare_methods(
        self,
        images: Source | Photo | Iterable[Source | Photo],
        methods: Sequence[str] | None = None,
        metrics: Sequence[str] | None = None,
        classes: Sequence[int | str] | None = None,
        objects: Sequence[npt.NDArray[np.bool_] | None] | None = None,
    ) -> "Evaluation":
        """Find the method that explains this model best on these images: numbers, ranks, and a recommendation.

        images: one image or a list. methods, metrics: names; None stands for the usual ones. classes: for each image
        the class that it shows; without it the predicted class is explained, and there are no mosaics (grid_pg).
        objects: for each image a mask, bool (H, W), of where the object is, or None. `print` shows a table; `to_dict()`
        gives all numbers and the reasons. Raises OptionError, UnknownName, ImageError.
        """
        from camserve.evaluation.comparing_methods import compare_methods

        return compare_methods(self, images, methods, metrics, classes, objects)

    def inspect(self) -> "Inspection":
        """Describe every layer's output and cost, the head, and the allowed input sizes; see models/inspection/."""
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
    """Load a classifier and make it ready for explanations.

    source: a card's name ("efficientnet-lite0", the default), the path of a card, an architecture such as
    "torchvision:resnet18", "timm:NAME", "hf:FOLDER", "package.module:factory" or "./net.py:factory", whose code is run;
    a model file such as "net.onnx"; or an nn.Module, which is copied: the module itself is never changed.
    weights: for an architecture, a checkpoint, see `camserve.models.weights.checkpoints`; or "DEFAULT", for the weights
    in the local cache of torchvision or timm. key: which state dict of the checkpoint to take if it holds several, as
    in "ema.state_dict". labels: class names in the order of the logits, a dict from index to name or from name to
    index, a text file with one name a line, or "imagenet"; for a network with several outputs also a dict from output
    to any of these. aliases: more names of classes, as in {"moggy": "tabby"}. layer: the layer to explain; found
    automatically by default. output: which part of the network's answer holds the logits, if several parts could: the
    name of a field, a path such as "heads.colour", or an index. The option `output` of `explain` selects another part.
    scores: "softmax" (default); "sigmoid" for multi-label heads; "none" for numbers, as of regression; "embedding" for
    features of the image. region: for segmentation networks and detectors, which part of the input is explained: left,
    top, right, bottom, as shares of its sides; default all of it. arguments: what the network's forward takes besides
    images, by name, the same for every picture; see `camserve.models.arguments`.
    templates, tokenizer: for models that compare images with sentences ("clip:FOLDER", or a module such as CLIPModel).
    Their labels are sentences. templates are prompts such as ["a photo of a {}"]; tokenizer reads the sentences if the
    module does not name its own.
    download: whether to download "hf:OWNER/NAME" or "timm:hf-hub:OWNER/NAME" if it is not on this machine. Without it
    nothing is ever downloaded.
    input_options: fields of `camserve.models.card.Input` (size, channels, mean, std ...). For those that you leave out,
    and for labels and scores, the network's own library decides, also for a module of timm or transformers; else the
    input is ImageNet's usual one. A card itself states all of these except labels, layer and output.
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
