"""The versions of everything that affects the numbers."""

import platform
import re
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import PIL

from camserve.version import __version__


@cache
def versions(engine: str = "torch") -> dict[str, str]:
    """Return the versions by package name; do not change the dict. engine: the engine that runs the network."""
    by_engine = {} if engine == "torch" else {engine: version(engine)}
    return by_engine | {
        "camserve": __version__,
        "python": platform.python_version(),
        "torch": _of_torch(),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }


def _of_torch() -> str:
    """Return torch's version with its build, as in 2.14.1+cpu, read from its files: importing torch takes a second."""
    spec = find_spec("torch")
    text = (
        Path(spec.submodule_search_locations[0], "version.py").read_text()
        if spec and spec.submodule_search_locations
        else ""
    )
    found = re.search(r"__version__ = '(.*)'", text)
    return found[1] if found else version("torch")
