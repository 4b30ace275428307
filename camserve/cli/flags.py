"""The options of all commands that explain, built from catalogue/options.py, and their parsed values."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from camserve.catalogue import options
from camserve.catalogue.class_sentences import ZERO_SHOT, sentences_given
from camserve.catalogue.methods import parse_methods
from camserve.catalogue.option_metadata import About, about
from camserve.catalogue.questions import parse_questions
from camserve.cli.program import read_settings
from camserve.models.architectures.hub_cache import fetch

if TYPE_CHECKING:
    from camserve.catalogue.options import ExplainOptions, OverlayOptions
    from camserve.config.schema import Settings
    from camserve.model import Model

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")

# All names of a flag. In `batch`, --output means something else, so there only --model-output is left.
FLAGS = {"target": ("-t", "--target"), "output": ("--output", "--model-output")}
# Options that can be repeated, and another way to give several values.
SEVERAL = {"method": ", or a,b,c; all is every method"}


@dataclass(frozen=True)
class Asked:
    """What a command line asks for.

    model: None means the model of the settings. methods, targets, outputs: () means the method of the settings, the
    predicted class and the model's own output. how, look: the other options, without those that are settings. given:
    the options that are settings, by `section.key`.
    """

    model: str | None
    methods: tuple[str, ...]
    targets: tuple[str, ...]
    outputs: tuple[str, ...]
    how: "ExplainOptions"
    look: "OverlayOptions"
    given: Mapping[str, object]

    def load(self, settings: "Settings", output: str | None = None) -> "Model":
        """The requested model, with the requested sentences. Raises OptionError, and the errors of `camserve.load`."""
        from camserve.model import load

        labels = self.how.labels
        own = labels if self.model is not None and self.model.startswith(ZERO_SHOT) else None
        return load(self.model, labels=own, output=output, settings=settings).of_labels(labels)

    def settings(self, config: Path | None, *, threshold: float | None = None) -> "Settings":
        """The settings with the values of the command line. Raises ConfigError."""
        sections: dict[str, dict[str, object]] = {}
        for name, value in {**self.given, "render.threshold": threshold}.items():
            section, key = name.split(".")
            sections.setdefault(section, {})[key] = value
        return read_settings(config, **sections)


def explaining(command: F, taken: Collection[str] = ()) -> F:
    """Add the options of all commands that explain, as the argument `asked`. taken: flags that the command defines."""

    @wraps(command)
    def called(*args: Any, **given: Any) -> Any:
        asked = _asked(given)
        return command(*args, asked=asked, **given)

    model = click.option("-m", "--model", help="Card name (see `camserve models`), path of a card, or hf:FOLDER.")
    kinds = (options.Targeted, options.ExplainOptions, options.OverlayOptions)
    made = [model, download(), *(one for kind in kinds for one in _options_of(kind, taken=taken))]
    return downloading(_with(made, called))  # type: ignore[return-value]


def download() -> Callable[[F], F]:
    """The option --download; see `downloading`."""
    said = "Fetch hf:OWNER/NAME or timm:hf-hub:OWNER/NAME if it is not on this machine."
    return click.option("--download", is_flag=True, help=said)


def downloading(command: F) -> F:
    """A command that first fetches its `model` if --download is given."""

    @wraps(command)
    def called(*args: Any, download: bool, **given: Any) -> Any:
        if download:
            fetch(given.get("model") or "")
        return command(*args, **given)

    return called  # type: ignore[return-value]


def asking(command: F) -> F:
    """Add the options that ask about places of one image. The command gets them as `questions`."""
    names = ("at", "region", "polygons")

    @wraps(command)
    def called(*args: Any, **given: Any) -> Any:
        questions = parse_questions(*(given.pop(name) for name in names))
        return command(*args, questions=questions, **given)

    return _with(_options_of(options.Questioned, names), called)  # type: ignore[return-value]


def threshold(command: F) -> F:
    """The option --threshold."""
    return _with(_options_of(options.Questioned, ["threshold"]), command)


def line(name: str) -> str:
    """The help text of one option of `ExplainOptions`, for a command that takes it once."""
    one, default = about(options.ExplainOptions)[name]
    return one.line(default)


def _asked(given: dict[str, Any]) -> Asked:
    """Remove the options that `explaining` added from `given`, and return them. Raises OptionError."""
    model, methods, targets, outputs = (given.pop(name) for name in ("model", "method", "target", "output"))
    given["labels"] = sentences_given(given["labels"])
    settings: dict[str, object] = {}

    def record(kind: type[R]) -> R:
        values = {}
        for name in given.keys() & about(kind).keys():
            one, _ = about(kind)[name]
            if one.settings:
                settings.update(dict.fromkeys(one.settings, given.pop(name)))
            else:
                values[name] = given.pop(name)
        return kind(**values)

    how, look = record(options.ExplainOptions), record(options.OverlayOptions)
    return Asked(model, methods, targets, outputs, how, look, settings)


def _options_of(kind: type, names: Iterable[str] = (), taken: Collection[str] = ()) -> list[Callable[[F], F]]:
    """The click options for a class of options. names: default all."""
    found = about(kind)
    return [_option(name, *found[name], taken) for name in names or found]


def _option(name: str, one: About, default: object, taken: Collection[str]) -> Callable[[F], F]:
    flag, said = f"--{name.replace('_', '-')}", one.line(default)
    if one.repeats:
        said += f" Can be repeated{SEVERAL.get(name, '')}."
    if one.wire is bool:
        both = f"{flag}/--no-{name.replace('_', '-')}"
        return click.option(flag if default is False else both, default=default, is_flag=True, help=said)
    kind = click.Choice(one.choices) if one.choices else one.wire if one.wire in (int, float) else str
    callback = (lambda _context, _option, given: parse_methods(given)) if name == "method" else None
    return click.option(
        name,
        *(each for each in FLAGS.get(name, (flag,)) if each not in taken),
        type=kind,
        default=None if one.repeats else default,
        multiple=one.repeats,
        metavar=one.form,
        callback=callback,
        help=said,
    )


def _with(made: Iterable[Callable[[F], F]], command: F) -> F:
    """The command with these options; its help lists them in this order."""
    for one in reversed(list(made)):
        command = one(command)
    return command
