"""Settings: config.toml's defaults, then a file of the user's, then CAMSERVE_* variables, then flags.

config.toml at the top of the project is the only place that holds a default; the classes here say what a
legal value is. `settings()` gives the process's own, read once.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from camserve.errors import ConfigError, UnknownName
from camserve.methods import AUTO, find_method

PREFIX = "CAMSERVE_"
FILE_VARIABLE = "CAMSERVE_CONFIG"
# Kubernetes sets these for each service that is called camserve or camserve-something; they are no settings of ours.
_SERVICE_LINK = re.compile(r"CAMSERVE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT=\w+://|PORT_\d+_(TCP|UDP)(_\w+)?=)")

Size = Literal["fit", "crop", "native"] | Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]  # locks and timers take no infinity


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Explain(_Section):
    """What is explained, and how, when the caller does not say."""

    model: str
    method: str
    size: Size
    max_aspect: Annotated[float, Field(ge=1)]
    max_input_megapixels: Positive
    sharp: bool

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        """One of the registry: found out here, not by the first image."""
        if value != AUTO:
            _checked(find_method, value)
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _number_in_quotes(cls, value: object) -> object:
        """Environment variables and flags are strings: "320" is the number."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value


class Sharp(_Section):
    """What `sharp` adds to one pass."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]

    @field_validator("scales", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        """An environment variable holds several, separated by commas."""
        return value.split(",") if isinstance(value, str) else value

    @field_validator("scales")
    @classmethod
    def _with_nominal(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Class and score are those of scale 1, so the picture must hold it."""
        if 1 not in value:
            raise ValueError("1, the nominal size, must be among them")
        return value


class Render(_Section):
    """How an overlay looks."""

    colormap: str
    signed_colormap: str
    alpha: Share
    threshold: Share
    quality: Annotated[int, Field(ge=1, le=100)]

    @field_validator("colormap", "signed_colormap")
    @classmethod
    def _known_colours(cls, value: str) -> str:
        """One of the catalogue."""
        from camserve.painting import colours  # with numpy and Pillow, which `--help` does without

        _checked(colours, value)
        return value


class Limits(_Section):
    """What one image may cost."""

    megapixels: Positive
    side: Annotated[int, Field(ge=1)]
    body_megabytes: Positive

    @property
    def max_pixels(self) -> int:
        """`megapixels` as a number of pixels."""
        return int(self.megapixels * 1e6)

    @property
    def max_bytes(self) -> int:
        """`body_megabytes` as a number of bytes."""
        return int(self.body_megabytes * 2**20)


class Compute(_Section):
    """The pool of threads that owns the models."""

    device: str
    engine: Literal["auto", "torch", "openvino"]
    precision: Literal["float32", "bfloat16"]
    cache: str
    workers: Annotated[int, Field(ge=0)]
    threads: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)]


class Models(_Section):
    """Where cards are looked for."""

    folders: tuple[Path, ...]

    @field_validator("folders", mode="before")
    @classmethod
    def _path_list(cls, value: object) -> object:
        """An environment variable holds several folders the way PATH does."""
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("folders")
    @classmethod
    def _home(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        """ "~" is the home folder; where a process has none it stays, and is a folder that is not there."""
        return tuple(Path(os.path.expanduser(folder)) for folder in value)  # noqa: PTH111 - that one raises


class Serve(_Section):
    """The HTTP service."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    http_threads: Annotated[int, Field(ge=2)]
    queue: Annotated[int, Field(ge=0)]
    deadline_seconds: Seconds
    upload_seconds: Seconds
    token: SecretStr
    models: Annotated[int, Field(ge=1)]
    preload: tuple[str, ...]
    memory_megabytes: Annotated[float, Field(ge=0, allow_inf_nan=False)]

    @field_validator("preload", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        """An environment variable holds several, separated by commas."""
        return [part for part in value.split(",") if part] if isinstance(value, str) else value

    @field_validator("token")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        """What a header can carry, and nobody can try out."""
        if value and not re.fullmatch(r"[!-~]{16,}", value.get_secret_value()):
            raise ValueError("a token has 16 letters, digits or signs at least, and no spaces")
        return value


class Settings(_Section):
    """All settings, one attribute per section of config.toml."""

    explain: Explain
    sharp: Sharp
    render: Render
    limits: Limits
    compute: Compute
    models: Models
    serve: Serve


def shipped(name: str) -> Path:
    """`config.toml` or `models` as they come with the package: inside the wheel, or beside a checkout's code."""
    package = Path(__file__).parent
    inside = package / "shipped" / name
    return inside if inside.exists() else package.parent / name


def load_settings(
    path: str | Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings afresh.

    path: a TOML file with the sections and keys to change; default: the file that CAMSERVE_CONFIG names, if any.
    overrides: {section: {key: value}} from flags; None values are skipped.
    Raises ConfigError naming the key, the value, the source and what is allowed.
    """
    values = _read(shipped("config.toml"))
    path = path or environ.get(FILE_VARIABLE) or None
    if path is not None:
        _merge(values, _read(Path(path)), str(path))
    _merge(values, _from_environment(values, environ), "the environment")
    given = {s: {k: v for k, v in keys.items() if v is not None} for s, keys in (overrides or {}).items()}
    _merge(values, given, "the command line")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain_all(error)) from None


@cache
def settings() -> Settings:
    """The process's own settings: defaults, CAMSERVE_CONFIG's file and CAMSERVE_* variables, read once."""
    return load_settings()


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file '{path}': {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"'{path}' is not valid TOML: {error}") from None


def _merge(values: dict[str, Any], more: Mapping[str, Any], source: str) -> None:
    for section, keys in more.items():
        if section not in values:
            raise ConfigError(f"in {source}: {UnknownName('section', section, values)}")
        if not isinstance(keys, Mapping):
            raise ConfigError(f"in {source}: '{section}' is a section: write [{section}] and its keys below it")
        for key, value in keys.items():
            if key not in values[section]:
                raise ConfigError(f"in {source}: {UnknownName(f'key in [{section}]', key, values[section])}")
            values[section][key] = value


def _from_environment(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != FILE_VARIABLE and not _SERVICE_LINK.match(f"{name}={environ[name]}"):
            section, _, key = name.removeprefix(PREFIX).lower().partition("_")
            if key not in values.get(section, {}):
                known = [f"{PREFIX}{s}_{k}".upper() for s, keys in values.items() for k in keys]
                raise ConfigError(str(UnknownName("environment variable", name, known)))
            found.setdefault(section, {})[key] = environ[name]
    return found


def _checked(find: Callable[[str], object], name: str) -> None:
    """Raises ValueError, which pydantic collects, with the words of UnknownName."""
    try:
        find(name)
    except UnknownName as error:
        raise ValueError(str(error)) from None


def _explain_all(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"][:2])
        given = "..." if where == "serve.token" else repr(problem["input"])
        said = problem["msg"].removeprefix("Input ").removeprefix("Value error, ")
        lines.append(f"{where} = {given}: {said}")
    return "bad setting " + "; ".join(lines)
