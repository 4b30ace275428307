"""Reads the files and environment variables that hold settings; does not check their values."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camserve.errors import ConfigError, UnknownName, first_line, shown

PREFIX = "CAMSERVE_"
FILE_VARIABLE = "CAMSERVE_CONFIG"
# The most characters of a settings file. config.toml has about ten thousand; a device file may never end.
_MOST = 2**20
# Kubernetes sets these variables for each service named camserve or camserve-something. They are not settings.
_SERVICE_LINK = re.compile(r"CAMSERVE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT=\w+://|PORT_\d+_(TCP|UDP)(_\w+)?=)")


def from_file(path: Path) -> dict[str, Any]:
    """Read a TOML file: {section: {key: value}}. Raises ConfigError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise ConfigError(f"the settings file '{path}' is larger than {_MOST // 2**20} MB")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the settings file '{path}': {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # also for too many digits, too deep brackets
        raise ConfigError(f"'{path}' is not valid TOML: {first_line(error)}") from None


def merge(values: dict[str, Any], more: Mapping[str, Any], source: str) -> None:
    """Overwrite `values` with `more`. `values` has every known key. source: named in the error. Raises ConfigError."""
    for section, keys in more.items():
        if section not in values:
            raise ConfigError(f"in {source}: {UnknownName('section', section, values)}")
        if not isinstance(keys, Mapping):
            raise ConfigError(f"in {source}: '{section}' is a section: write [{section}], and its keys below it")
        for key, value in keys.items():
            if key not in values[section]:
                raise ConfigError(f"in {source}: {UnknownName(f'key in [{section}]', key, values[section])}")
            values[section][key] = value


def from_environment(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Read the CAMSERVE_* variables for the keys of `values`. Raises ConfigError for an unknown variable."""
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name != FILE_VARIABLE and not _SERVICE_LINK.match(f"{name}={environ[name]}"):
            section, _, key = name.removeprefix(PREFIX).lower().partition("_")
            if key not in values.get(section, {}):
                known = [f"{PREFIX}{s}_{k}".upper() for s, keys in values.items() for k in keys]
                raise ConfigError(str(UnknownName("environment variable", name, known)))
            is_list = isinstance(values[section][key], list) and environ[name].lstrip().startswith("[")
            found.setdefault(section, {})[key] = _as_in_a_file(name, environ[name]) if is_list else environ[name]
    return found


def _as_in_a_file(name: str, text: str) -> Any:
    """Read a list in a variable that is written as in a settings file: `["a", "b"]`. Raises ConfigError."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        raise ConfigError(f'{name} = {shown(text)} is not a list; write it as ["a", "b"]') from None
