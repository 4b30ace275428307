"""One photograph, several methods or several classes: what each shows, what it took, and why some show nothing."""

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from camserve.errors import DeadlinePassed, OptionError
from camserve.methods import AUTO, FAMILIES, METHODS, find_method
from camserve.options import ExplainOptions

if TYPE_CHECKING:
    from camserve.explanation import Explanation
    from camserve.images import Photo
    from camserve.layers import Layer
    from camserve.methods.evidence import Progress
    from camserve.models import Model
    from camserve.targets import TargetOption

EVERY = "all"
NOTHING = "no more forwards"
_COUNT = re.compile(r"(?:top )?(\d{1,18})")


@dataclass(frozen=True)
class Entry:
    """One method's or class's part of a comparison.

    name: of its folder. title: in words. group: what it stands under. detail: what it took. explanation: None where
    there is none, for the `reason` given.
    """

    name: str
    title: str
    group: str
    detail: str = ""
    explanation: "Explanation | None" = None
    reason: str = ""


@dataclass(frozen=True)
class Best:
    """So many of the best classes, unless `text`, which says so, is the name of a class."""

    count: int
    text: str

    def among(self, labels: Sequence[str]) -> int | list[str]:
        """What `explain_classes` takes as targets."""
        from camserve.targets import classes_named

        return [self.text] if classes_named(self.text, labels) else self.count


def parse_methods(texts: Iterable[str]) -> tuple[str, ...]:
    """The methods that "cam,rise", "all" and so on mean, families together. Raises UnknownName with close matches."""
    names = [name.strip() for text in texts for name in text.split(",")]
    for name in names:
        if name not in (AUTO, EVERY):
            find_method(name)
    if EVERY in names:
        return tuple(METHODS)
    return tuple(sorted(dict.fromkeys(names), key=[AUTO, *METHODS].index))


def parse_targets(text: str) -> Best | list[str]:
    """Classes separated by semicolons; or "3" or "top 3". Raises OptionError where there are none."""
    if count := _COUNT.fullmatch(text.strip()):
        return Best(int(count[1]), text.strip())
    found = [target.strip() for target in text.split(";") if target.strip()]
    if not found:
        raise OptionError(f"targets {text!r} names no class; give some, separated by semicolons, or a number")
    return found


def compare_methods(
    model: "Model",
    photo: "Photo",
    methods: Iterable[str],
    target: "TargetOption" = None,
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 - frozen
    *,
    limit: float | None = None,
    progress: "Progress | None" = None,
) -> Iterator[Entry]:
    """Each method's explanation of one photograph, one after another.

    limit: seconds for each, after which it is given up. A method that does not go with this
    model, head or layer, or was given up, has an entry with the reason. Raises what is wrong with the rest of the
    options, whatever the method.
    """
    from camserve.explain import explain
    from camserve.run import Run

    for name in methods:
        start = time.perf_counter()
        try:
            made = explain(model, photo, target, replace(options, method=name), Run(deadline=limit, progress=progress))
        except DeadlinePassed:
            yield _left_out(name, f"given up after {limit:g} s: it costs {find_method(name).cost}")
        except OptionError as error:
            explain(
                model, photo, target, replace(options, method=AUTO, sharp=False)
            )  # raises what no method could do with
            yield _left_out(name, str(error))
        else:
            seconds = time.perf_counter() - start
            yield Entry(name, _title(name), family_of(name), f"{_seconds(seconds)}, {_cost(made)}", made)


def compare_classes(
    model: "Model",
    photo: "Photo",
    targets: int | list[str],
    options: ExplainOptions = ExplainOptions(),  # noqa: B008 - frozen
    *,
    progress: "Progress | None" = None,
) -> Iterator[Entry]:
    """The explanation of each class, from one forward pass. Raises OptionError, UnknownName."""
    from camserve.explain import explain_classes
    from camserve.run import Run

    yield from class_entries(explain_classes(model, photo, targets, options, Run(progress=progress)))


def class_entries(explained: "Iterable[Explanation]") -> Iterator[Entry]:
    """Entries of explanations of one image, one a class, each with a name of its own."""
    names: dict[str, int] = {}
    for one in explained:
        name = re.sub(r"[^\w+]+", "-", one.target.name).strip("-") or "class"
        names[name] = names.get(name, 0) + 1
        folder = name if names[name] == 1 else f"{name}-{names[name]}"
        yield Entry(folder, one.target.name, "Classes", _answer(one), one)


def family_of(name: str) -> str:
    """The family of a method; of "auto" the word itself."""
    return next((family for family, methods in FAMILIES.items() if name in {m.name for m in methods}), "Automatic")


def _answer(one: "Explanation") -> str:
    if one.target.has_score:
        return f"score {one.score:.3f}, logit {one.logit:.1f}"
    value = "" if one.value is None else f"{one.value:.1f}"
    return f"{value} logits" if one.target.is_linear else value


def _left_out(name: str, reason: str) -> Entry:
    return Entry(name, _title(name), family_of(name), reason=reason)


def _title(name: str) -> str:
    return METHODS[name].title if name in METHODS else "Automatic"


def _cost(made: "Explanation") -> str:
    """What the registry says, with this layer's channels and cells for K and h w."""
    layer = made.model.layer(made.layer.split(",")[0], made.output_stride)
    cost, free, _ = METHODS[made.method].cost.partition("; none under a linear head")
    return NOTHING if free and layer.head.kind == "linear" else _counted(cost, made, layer)


def _counted(cost: str, made: "Explanation", layer: "Layer") -> str:
    channels = made.model.layers()[layer.name][0]
    counted = re.sub(r"\b(?:(\d+) )?K\b", lambda match: str(int(match[1] or 1) * channels), cost)
    width, height = made.placement.grid
    return counted.replace("h w forwards", f"{width * height} forwards")


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
