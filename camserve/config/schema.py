"""Settings: the defaults of config.toml, then the user's file, then CAMSERVE_* variables, then flags.

Only config.toml at the top of the project holds defaults; the classes here say which values are allowed.
`settings()` returns the settings of this process, read once.
"""

import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from camserve.catalogue.colormaps import colours
from camserve.catalogue.methods import AUTO, find_method
from camserve.config.setting_sources import FILE_VARIABLE, from_environment, from_file, merge
from camserve.config.validation_words import faults_of
from camserve.errors import ConfigError, UnknownName, shown

Size = Literal["fit", "crop", "native"] | Annotated[int, Field(ge=1, le=999_999)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0.001, le=86_400)]  # locks and timers do not take infinity
# In a list of origins, it stands for pages of every origin.
ANY_ORIGIN = "*"
_ORIGIN = re.compile(r"https?://([a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?")
# A number of 10^6 pixels or of 2^20 bytes: from a single pixel or byte to more than any machine has.
Millions = Annotated[float, Field(ge=1e-6, le=1e7, allow_inf_nan=False)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth(cls, value: object, about: ValidationInfo) -> object:
        """Refuse true and false, which pydantic would read as numbers."""
        if isinstance(value, bool) and cls.model_fields[str(about.field_name)].annotation is not bool:
            raise ValueError("true and false are not allowed here")
        return value


class Explain(_Section):
    """The model, method and sizes that are used when the caller does not give them."""

    model: str
    method: str
    size: Size
    max_aspect: Annotated[float, Field(ge=1, le=65_535)]
    max_input_megapixels: Millions
    max_cells: Annotated[int, Field(ge=1, le=100_000_000)]
    unsure_below: Share
    sharp: bool
    own_answer: bool

    @field_validator("method")
    @classmethod
    def _known_method(cls, value: str) -> str:
        """Refuse an unknown method here, not at the first image."""
        if value != AUTO:
            _checked(find_method, value)
        return value

    @field_validator("size", mode="before")
    @classmethod
    def _number_in_quotes(cls, value: object) -> object:
        """Read "320" as a number, because environment variables and flags are strings."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value


class Sharp(_Section):
    """The input sizes that `sharp` adds to the nominal one."""

    scales: Annotated[tuple[Annotated[float, Field(ge=0.01, le=100)], ...], Field(min_length=1, max_length=16)]

    @field_validator("scales", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        """Split text at commas, as environment variables give a list."""
        return value.split(",") if isinstance(value, str) else value

    @field_validator("scales")
    @classmethod
    def _with_nominal(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        """Scale 1 must be in the list, because it gives the class and the score."""
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
    subsampling: Literal["4:4:4", "4:2:2", "4:2:0"]
    max_side: Annotated[int, Field(ge=0, le=65_535)]
    smooth: bool
    native: bool

    @field_validator("max_side")
    @classmethod
    def _roomy(cls, value: int) -> int:
        """A limit must leave room for a picture with a legend."""
        if 0 < value < 512:
            raise ValueError("allowed are 0, for no limit, and 512 or more: the legend needs this room")
        return value

    @field_validator("colormap", "signed_colormap")
    @classmethod
    def _known_colours(cls, value: str) -> str:
        """Refuse a colour map that is not in the catalogue."""
        _checked(colours, value)
        return value


class Limits(_Section):
    """The limits of one image and of one request."""

    megapixels: Millions
    side: Annotated[int, Field(ge=1, lt=2**31)]
    body_megabytes: Millions
    local_megapixels: Millions
    local_megabytes: Millions
    explanations: Annotated[int, Field(ge=1, le=1_000_000)]

    @property
    def max_pixels(self) -> int:
        """`megapixels` as a number of pixels."""
        return int(self.megapixels * 1e6)

    @property
    def max_bytes(self) -> int:
        """`body_megabytes` as a number of bytes."""
        return int(self.body_megabytes * 2**20)

    @property
    def max_local_pixels(self) -> int:
        """`local_megapixels` as a number of pixels."""
        return int(self.local_megapixels * 1e6)

    @property
    def max_local_bytes(self) -> int:
        """`local_megabytes` as a number of bytes."""
        return int(self.local_megabytes * 2**20)


class Images(_Section):
    """How images are read."""

    icc: Literal["srgb", "ignore"]
    draft: bool

    @property
    def to_srgb(self) -> bool:
        """Whether pixels are converted to sRGB with the image's colour profile."""
        return self.icc == "srgb"


class Compute(_Section):
    """The engine of the models and its pool of threads."""

    device: str
    engine: Literal["auto", "torch", "openvino", "onnxruntime"]
    precision: Literal["float32", "bfloat16", "int8"]
    calibration: str
    cache: str
    workers: Annotated[int, Field(ge=0, le=1024)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    batch: Annotated[int, Field(ge=1, le=4096)]


class Models(_Section):
    """The folders of model cards, and the folders that cards may read."""

    folders: tuple[Path, ...]
    shared: tuple[Path, ...]

    @field_validator("folders", "shared", mode="before")
    @classmethod
    def _path_list(cls, value: object) -> object:
        """Split text into folders, as in the variable PATH."""
        return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value

    @field_validator("folders", "shared")
    @classmethod
    def _home(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        """Replace "~" by the home folder. Without a home folder "~" stays, and no such folder exists."""
        return tuple(Path(os.path.expanduser(folder)) for folder in value)  # noqa: PTH111 - that one raises


class Serve(_Section):
    """The HTTP service."""

    host: str
    port: Annotated[int, Field(ge=0, le=65535)]
    http_threads: Annotated[int, Field(ge=2, le=10_000)]
    queue: Annotated[int, Field(ge=0, le=1_000_000)]
    deadline_seconds: Seconds
    upload_seconds: Seconds
    token: SecretStr
    proxies: tuple[str, ...]
    frame_ancestors: tuple[str, ...]
    cors_origins: tuple[str, ...]
    models: Annotated[int, Field(ge=1, le=10_000)]
    preload: tuple[str, ...]
    memory_megabytes: Annotated[float, Field(ge=0, le=1e7, allow_inf_nan=False)]
    unsent_megabytes: Millions
    jobs: Annotated[int, Field(ge=0, le=10_000)]
    job_seconds: Seconds
    job_kept_seconds: Seconds
    job_megabytes: Millions
    traces: bool

    @property
    def job_bytes(self) -> int:
        """`job_megabytes` as a number of bytes."""
        return int(self.job_megabytes * 2**20)

    @property
    def job_limit(self) -> float:
        """The seconds that a job may take; 0 if the service accepts no jobs."""
        return self.job_seconds if self.jobs else 0.0

    @property
    def unsent_bytes(self) -> int:
        """`unsent_megabytes` as a number of bytes."""
        return int(self.unsent_megabytes * 2**20)

    @field_validator("preload", "proxies", "frame_ancestors", "cors_origins", mode="before")
    @classmethod
    def _list(cls, value: object) -> object:
        """Split text at commas, as environment variables give a list."""
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Each must be an address, or a network such as 10.0.0.0/8."""
        for one in value:
            try:
                ip_network(one)
            except ValueError:
                raise ValueError(
                    f"{shown(one)} is neither an address, such as 10.0.0.7, nor a network, such as 10.0.0.0/8"
                ) from None
        return value

    @field_validator("frame_ancestors", "cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Each must have the form that browsers send: scheme, host and, if it is not the scheme's default, port."""
        for one in value:
            if one != ANY_ORIGIN and not _ORIGIN.fullmatch(one):
                raise ValueError(
                    f"{shown(one)} is not an origin, such as https://wiki.example.org or http://localhost:3000: use "
                    'lower case, no path and no slash at the end; or give "*" for all pages'
                )
        return value

    @field_validator("token")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        """A token must fit into a header and be too long to guess."""
        if value and not re.fullmatch(r"[!-~]{16,}", value.get_secret_value()):
            raise ValueError("a token must have at least 16 letters, digits or signs (ASCII), and no spaces")
        return value


class Settings(_Section):
    """All settings, one attribute per section of config.toml."""

    explain: Explain
    sharp: Sharp
    render: Render
    limits: Limits
    images: Images
    compute: Compute
    models: Models
    serve: Serve


def shipped(name: str) -> Path:
    """The path of the package's own `config.toml`, `models` or `photos`: in the wheel, or in the checkout."""
    package = Path(__file__).parent.parent
    inside = package / "shipped" / name
    return inside if inside.exists() else package.parent / name


def load_settings(
    path: str | Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the settings from all their sources, without a cache.

    path: a TOML file with the sections and keys to change; default: the file that CAMSERVE_CONFIG names, if any.
    overrides: {section: {key: value}} from flags; None values are skipped.
    Raises ConfigError with the key, the value, the source and what is allowed.
    """
    values = from_file(shipped("config.toml"))
    path = path or environ.get(FILE_VARIABLE) or None
    if path is not None:
        merge(values, from_file(Path(path)), str(path))
    merge(values, from_environment(values, environ), "the environment")
    given = {s: {k: v for k, v in keys.items() if v is not None} for s, keys in (overrides or {}).items()}
    merge(values, given, "the command line")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"bad setting {faults_of(error, depth=2, hidden='serve.token')}") from None


@cache
def settings() -> Settings:
    """The settings of this process: defaults, the file of CAMSERVE_CONFIG and CAMSERVE_* variables, read once."""
    return load_settings()


def _checked(find: Callable[[str], object], name: str) -> None:
    """Call `find`; its UnknownName becomes a ValueError with the same text, because pydantic collects only those."""
    try:
        find(name)
    except UnknownName as error:
        raise ValueError(str(error)) from None
