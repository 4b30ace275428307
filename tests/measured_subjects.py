"""Subjects of metrics whose numbers can be checked on paper: inputs, maps and scores in a line of numpy each."""

from collections.abc import Callable
from typing import Any

import numpy as np

from camserve.metrics.subject import Float32, Subject

# An input (c, H, W) -> a number
One = Callable[[Float32], float]


def subject(
    image: Any,
    heat: Any,
    score: One,
    value: One | None = None,
    explain: Callable[[Float32], Any] | None = None,
    batch: int = 7,
    bias: float | None = None,
) -> Subject:
    """image: (c, H, W). heat: (H, W), its own raw map as well. value: as score where left out."""

    def of_each(asked: One) -> Callable[[Float32], Any]:
        def each(images: Float32) -> Any:
            assert images.dtype == np.float32
            assert len(images) <= batch
            return np.array([asked(one) for one in images], np.float64)

        return each

    heat = np.asarray(heat, np.float32)
    return Subject(
        images=np.asarray(image, np.float32)[None],
        map=heat,
        heat=heat,
        score=of_each(score),
        value=of_each(value or score),
        explain=explain,
        batch=batch,
        bias=bias,
    )
