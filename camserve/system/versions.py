"""The versions of everything that takes part in the numbers."""

import platform
from functools import cache
from importlib.metadata import version

import numpy as np
import PIL
import torch

from camserve.version import __version__


@cache
def versions(engine: str = "torch") -> dict[str, str]:
    """By name; not to be written into. engine: what runs the network."""
    by_engine = {} if engine == "torch" else {engine: version(engine)}
    return by_engine | {
        "camserve": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
    }
