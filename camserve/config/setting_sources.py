"""What settings are read from, before anybody looks at their values: files and variables."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camserve.errors import ConfigError, UnknownName, first_line, shown

PREFIX = "CAMSERVE_"
FILE_VARIABLE = "CAMSERVE_CONFIG"
# Characters of a settings file; ours has some ten thousand, and a device never ends.
_MOST = 2**20
# Kubernetes sets these for each service that is called camserve or camserve-something; they are no settings of ours.
_SERVICE_LINK = re.compile(r"CAMSERVE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)=|PORT=\w+://|PORT_\d+_(TCP|UDP)(_\w+)?=)")


def from_file(path: Path) -> dict[str, Any]:
    """What a TOML file says, {section: {key: value}}. Raises ConfigError."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MOST + 1)
        if len(text) > _MOST:
            raise ConfigError(f"the settings file '{path}' may have {_MOST // 2**20} MB at most")
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"cannot read the settings file '{path}': {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # not only TOMLDecodeError: too many digits, too many brackets
        raise ConfigError(f"'{path}' is not valid TOML: {first_line(error)}") from None


def merge(values: dict[str, Any], more: Mapping[str, Any], source: str) -> None:
    """Put `more` over `values`, which has every key there is. Raises ConfigError, which names `source`."""
    for section, keys in more.items():
        if section not in values:
            raise ConfigError(f"in {source}: {UnknownName('section', section, values)}")
        if not isinstance(keys, Mapping):
            raise ConfigError(f"in {source}: '{section}' is a section: write [{section}] and its keys below it")
        for key, value in keys.items():
            if key not in values[section]:
                raise ConfigError(f"in {source}: {UnknownName(f'key in [{section}]', key, values[section])}")
            values[section][key] = value


def from_environment(values: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """What CAMSERVE_* variables say of the keys of `values`. Raises ConfigError for one that is none of them."""
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
    """A list in a variable, written as a settings file has it: `["a", "b"]`. Raises ConfigError."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        raise ConfigError(f'{name} = {shown(text)} is no list: allowed is one such as ["a", "b"]') from None
