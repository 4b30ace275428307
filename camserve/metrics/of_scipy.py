"""What scipy is used for, which is the extra `metrics`: boxes around connected pixels, and a module by its name."""

from importlib import import_module
from typing import Any

import numpy as np

from camserve.errors import OptionError
from camserve.metrics.heat import Indices, Mask


def scipy_part(name: str, metric: str) -> Any:
    """A module of scipy. metric: what needs it. Raises OptionError where scipy is not installed."""
    try:
        return import_module(f"scipy.{name}")
    except ImportError:
        raise OptionError(
            f"the metric '{metric}' needs scipy, which is not installed: pip install 'camserve[metrics]', or leave "
            f"'{metric}' out"
        ) from None


def regions(hot: Mask) -> Indices:
    """Boxes around the connected regions of a mask (H, W), touching corners connect: (n, 4).

    Each is (top, left, bottom, right), the last two exclusive. Raises OptionError without scipy.
    """
    ndimage = scipy_part("ndimage", "max_box_acc_v2")
    numbered, _ = ndimage.label(hot, np.ones((3, 3)))
    boxes = [(y.start, x.start, y.stop, x.stop) for y, x in ndimage.find_objects(numbered)]
    return np.array(boxes, np.intp).reshape(-1, 4)
