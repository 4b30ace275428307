"""The options of a batch, and the facts that a resumed run must share with the earlier run."""

import re
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from camserve.catalogue.methods import QUANTITIES
from camserve.catalogue.metrics import find_metric
from camserve.catalogue.options import ExplainOptions, OverlayOptions
from camserve.catalogue.run_files import KINDS
from camserve.catalogue.targets import EXPECTED, PREDICTED
from camserve.errors import OptionError, UnknownName
from camserve.images.reading import OUTPUTS

if TYPE_CHECKING:
    from camserve.model import Model

# These outputs are no files, but numbers in results.jsonl; polygons are boxes with their outlines.
BOXES, POLYGONS = "boxes", "polygons"


@dataclass(frozen=True)
class Options:
    """The options of a batch; they are the same for every image.

    methods: names, at least one. targets: what to explain: "predicted", "expected" (the class that an image shows, if
    known), "predicted-expected", classes, "a-b"; or a number of the best classes. () means predicted, and also expected
    if that is another class. how: the options of explanations, except the method; its expected class is used for images
    whose class the input does not give. look: the options of overlays. outputs: keys of KINDS, "boxes", "polygons".
    image_format: the format of overlays. threshold: for masks and boxes, a share of the maximum. metrics: names of
    `camserve.catalogue.metrics`; they are measured on the explanation of the class that an image shows, if known, else
    of the predicted class.
    """

    methods: tuple[str, ...] = ("auto",)
    targets: tuple[str, ...] | int = ()
    how: ExplainOptions = ExplainOptions()  # noqa: RUF009 - frozen
    look: OverlayOptions = OverlayOptions()  # noqa: RUF009 - frozen
    outputs: tuple[str, ...] = ("overlay",)
    image_format: str = "jpeg"
    threshold: float = 0.5
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises UnknownName, OptionError."""
        for output in self.outputs:
            if output not in (*KINDS, BOXES, POLYGONS):
                raise UnknownName("output", output, (*KINDS, BOXES, POLYGONS))
        if self.image_format not in OUTPUTS:
            raise UnknownName("image format", self.image_format, OUTPUTS)
        object.__setattr__(self, "metrics", tuple(find_metric(metric).name for metric in self.metrics))
        if len(set(self.methods)) < max(len(self.methods), 1):
            raise OptionError(f"methods {', '.join(self.methods) or '(none)'}: give at least one, and each once")

    def by(self, method: str) -> ExplainOptions:
        """The options of explanations by one of the methods."""
        return replace(self.how, method=method)

    def facts(self) -> dict[str, Any]:
        """All options as a dict for JSON."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("how", "look")}
        how = {name: value for name, value in asdict(self.how).items() if name != "method"}
        how["quantity"] = self.how.quantity or QUANTITIES[0]
        return {**own, **how, "look": asdict(self.look)}

    def variants(self, labelled: bool) -> list[str]:
        """The names of the targets' results, in order. labelled: whether images have expected classes."""
        if isinstance(self.targets, int):
            return [f"top-{place}" for place in range(1, self.targets + 1)]
        names = self.targets or ((PREDICTED, EXPECTED) if labelled else (PREDICTED,))
        slugs = [re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "target" for name in names]
        return [f"{slug}-{slugs[:i].count(slug) + 1}" if slug in slugs[:i] else slug for i, slug in enumerate(slugs)]


def facts_of(model: "Model", asked: Options) -> dict[str, Any]:
    """Everything that results depend on besides the images; it must not change when a run is resumed."""
    from camserve.system.versions import versions

    settings = model.settings.model_dump(
        mode="json", include={"explain", "sharp", "render", "limits", "images", "compute"}
    )
    for key in ("workers", "cache"):  # they change speed and storage, never results
        settings["compute"].pop(key)
    settings["compute"]["engine"] = engine = model.engine.name  # the engine that "auto" chose
    return {
        "model": {**model.described, "classes": len(model.labels)},
        "options": asked.facts(),
        "settings": settings,
        "versions": versions(engine),
    }
