"""The tools, without the protocol: each returns facts as plain JSON values, and a picture."""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camserve.agents.reach import Reach
from camserve.catalogue.methods import parse_methods
from camserve.catalogue.metrics import parse_metrics
from camserve.catalogue.options import ExplainOptions
from camserve.config.schema import Settings
from camserve.errors import ModelNotFound, OptionError, TooLong, TooMuch
from camserve.explain.pipeline import explain, explain_classes, open_photo
from camserve.explain.run import Run
from camserve.explain.side_by_side import explain_methods
from camserve.explanation.contact_sheet import Entry
from camserve.explanation.several import Explanations
from camserve.models.card import find_cards

if TYPE_CHECKING:
    from PIL import Image

    from camserve.explanation.explanation import Explanation
    from camserve.images.reading import Photo
    from camserve.model import Model

# Pixels of a picture's longer side: enough for language models, and few enough bytes for a message.
_SIDE, _QUALITY = 1024, 85
# The most layers in one answer, and the most methods on the sheet of an evaluation, best first.
_LAYERS, _SHOWN = 200, 5
# Facts of an explanation that are left out: they are large arrays, or only useful to programs.
_LEFT_OUT = ("map", "provenance", "own_answer", "receptive_field", "threshold")


@dataclass(frozen=True)
class Found:
    """The answer of a tool. picture: a JPEG, or None."""

    facts: dict[str, Any]
    picture: bytes | None = None


class Tools:
    """The tools of one server. reach: the photographs that it may read. settings: models, limits and defaults.

    The limits of uploads hold for photographs, `serve.deadline_seconds` for an answer whose time can be estimated, and
    `limits.explanations` for the number of photographs, methods, classes or models in a call.
    """

    def __init__(self, reach: Reach, settings: Settings) -> None:
        limits = settings.limits
        uploads = {"local_megapixels": limits.megapixels, "local_megabytes": limits.body_megabytes}
        self.reach = reach
        self.settings = settings.model_copy(update={"limits": limits.model_copy(update=uploads)})
        self._models: dict[str, Model] = {}
        self._lock = threading.Lock()

    @property
    def names(self) -> list[str]:
        """The names of the models that a call may name."""
        return list(find_cards(self.settings.models))

    def explain(self, image: str, target: str | None, method: str | None, model: str | None, *, trust: bool) -> Found:
        """Explain why one photograph gets its class. Raises CamserveError, as all tools do."""
        used = self._model(model)
        options = ExplainOptions(method=method, trust=trust)
        made = explain(used, self._photo(used, image), target, options, self._run())
        return Found({"model": used.name, **_facts(made)}, _jpeg(made.overlay(legend=True)))

    def compare(
        self,
        image: str,
        methods: Sequence[str] | None,
        targets: Sequence[str] | None,
        models: Sequence[str] | None,
        target: str | None,
    ) -> Found:
        """Explain one photograph by several methods, classes or models: a sheet, and how much the maps agree."""
        several = {"methods": methods, "targets": targets, "models": models}
        given = [name for name, value in several.items() if value]
        if len(given) != 1 or len(several[given[0]] or ()) < 2:
            raise OptionError("give two or more methods, two or more targets, or two or more models, to compare them")
        if targets and target is not None:
            raise OptionError("targets and target both say which class to explain: give one of them")
        self._check_count(**several)
        if models:
            named = list(dict.fromkeys(models))
            made = Explanations.of([self._entry(name, image, target) for name in named])
            names = named
        elif methods:
            used = self._model(None)
            names = list(parse_methods(methods))
            made = explain_methods(used, self._photo(used, image), names, target, run=self._run())
            names = [one.method for one in made]
        else:
            used = self._model(None)
            made = Explanations(explain_classes(used, self._photo(used, image), list(targets or ()), run=self._run()))
            names = list(targets or ())
        facts = {
            given[0]: [{"name": name, **_facts(one)} for name, one in zip(names, made, strict=True)],
            "left_out": made.left_out,
            "agreement": _agreement(names, made),
        }
        return Found(facts, _jpeg(made.sheet()))

    def evaluate(
        self,
        images: Sequence[str],
        methods: Sequence[str] | None,
        metrics: Sequence[str] | None,
        classes: Sequence[str] | None,
        model: str | None,
    ) -> Found:
        """Measure which method explains a model best on some photographs: figures, and a sheet of the first one."""
        from camserve.explain.estimate import estimate  # torch

        if not images:
            raise OptionError("images is empty; give one or more photographs")
        self._check_count(images=images, methods=methods)
        used = self._model(model)
        chosen = list(parse_methods(methods)) if methods else None
        asked = parse_metrics(metrics) if metrics else None
        photos = [self._photo(used, one) for one in images]
        if chosen:
            takes = estimate(used, photos[0], ExplainOptions(), self._run())
            together, allowed = len(photos) * sum(takes[one] for one in chosen), self.settings.serve.deadline_seconds
            if together > allowed:
                raise TooLong(
                    f"these methods take about {together:.0f} s on {len(photos)} photographs; allowed are "
                    f"{allowed:g} s (serve.deadline_seconds). Try fewer photographs, or methods that run the network "
                    "less often."
                )
        found = used.compare_methods(photos, chosen, asked, classes)
        best = [one.name for one in found.standings[:_SHOWN]]
        sheet = explain_methods(used, photos[0], best, run=self._run()).sheet()
        return Found({"model": used.name, "table": str(found), **found.to_dict()}, _jpeg(sheet))

    def inspect(self, model: str | None) -> Found:
        """Describe the layers and the cost of a network, and name the layer that is explained."""
        used = self._model(model)
        facts = used.inspect().to_dict()
        layers = facts.pop("layers")
        if len(layers) > _LAYERS:
            facts["layers_left_out"] = len(layers) - _LAYERS
        facts |= {"explained_layer": used.default_layer, "labels": list(used.labels[:5]), "layers": layers[-_LAYERS:]}
        return Found(facts)

    def _model(self, name: str | None) -> "Model":
        """Load a model at its first use, and keep it. Only names of cards are allowed, because a path could run code.

        Raises ModelNotFound.
        """
        from camserve.model import load  # imported here, because it would slow down the start of the server

        cards = find_cards(self.settings.models)
        asked = name or self.settings.explain.model
        if asked not in cards:
            raise ModelNotFound(asked, cards)
        with self._lock:
            if asked not in self._models:
                while len(self._models) >= self.settings.serve.models:
                    self._models.pop(next(iter(self._models)))
                self._models[asked] = load(cards[asked], settings=self.settings)
            return self._models[asked]

    def _photo(self, model: "Model", given: str) -> "Photo":
        return open_photo(model, self.reach.file(given))

    def _run(self) -> Run:
        return Run(deadline=self.settings.serve.deadline_seconds)

    def _entry(self, name: str, image: str, target: str | None) -> Entry:
        used = self._model(name)
        made = explain(used, self._photo(used, image), target, run=self._run())
        return Entry(name, name, "Models", made.in_short, made)

    def _check_count(self, **several: Sequence[str] | None) -> None:
        most = self.settings.limits.explanations
        for name, given in several.items():
            if given is not None and len(given) > most:
                raise TooMuch(f"{len(given)} {name} were given; allowed are {most} at once (limits.explanations)")


def _facts(made: "Explanation") -> dict[str, Any]:
    facts = made.to_dict(top=5)
    return {
        "in_short": made.in_short,
        "photograph": {"name": made.photo.name, "width": made.size[0], "height": made.size[1]},
        "method": made.method,
        "layers": list(made.layers),
        **{name: value for name, value in facts.items() if name not in _LEFT_OUT},
    }


def _agreement(names: Sequence[str], several: Sequence["Explanation"]) -> list[dict[str, Any]]:
    """The rank correlation of each two maps over a grid of 16 x 16 cells; 1 if they agree."""
    from camserve.findings.map_distance import rank_correlation
    from camserve.findings.sketch import sketch_of

    sketches = {name: sketch_of(one.map, one.placement) for name, one in zip(names, several, strict=True)}
    return [
        {"between": [one, other], "rank_correlation": round(rank_correlation(sketches[one], sketches[other]), 3)}
        for one, other in combinations(sketches, 2)
    ]


def _jpeg(picture: "Image.Image") -> bytes:
    picture.thumbnail((_SIDE, _SIDE))
    held = io.BytesIO()
    picture.convert("RGB").save(held, "JPEG", quality=_QUALITY)
    return held.getvalue()


def tools_of(folders: Sequence[Path], settings: Settings) -> Tools:
    """Return the tools for these folders. Raises OptionError."""
    return Tools(Reach(folders), settings)
