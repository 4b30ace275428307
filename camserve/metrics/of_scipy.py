"""The functions that need scipy, the extra `metrics`: boxes around connected pixels, and a module by its name."""

from importlib import import_module
from typing import Any

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Indices, Mask


def scipy_part(name: str, metric: str) -> Any:
    """Return a module of scipy. metric: the metric that needs it. Raises OptionError if scipy is not installed."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError:
        raise OptionError(
            f"the metric '{metric}' needs scipy, which is not installed: pip install 'camserve[metrics]', or leave "
            f"'{metric}' out"
        ) from None


def regions(hot: Mask) -> Indices:
    """Return boxes (n, 4) around the connected regions of a mask (H, W); touching corners connect.

    Each is (top, left, bottom, right), the last two exclusive. Raises OptionError without scipy.
    """
    ndimage = scipy_part("ndimage", "max_box_acc_v2")
    numbered, _ = ndimage.label(hot, np.ones((3, 3)))
    boxes = [(y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(numbered)]
    return np.array(boxes, np.intp).reshape(-1, 4)
