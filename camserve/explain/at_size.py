"""Run a photograph at the requested input size, or squeezed if the network does not take that size."""

from collections.abc import Callable
from typing import TypeVar

from camserve.errors import SizeError
from camserve.explain.run import Run
from camserve.geometry.frame import Frame
from camserve.images.reading import Photo
from camserve.models.classifier import Classifier

R = TypeVar("R")


def at_size(
    model: Classifier, photo: Photo, size: str | int | None, see: Callable[[Frame], R], run: Run
) -> tuple[Frame, tuple[str, ...], R]:
    """Call `see` with the photograph's frame on a worker. Returns the frame, warnings about it, and the result.

    If the network fails at a size that the caller did not choose, the whole image is squeezed to the network's own
    size. Raises SizeError.
    """
    frame, workers = model.frame(photo.size, size), run.workers or model.workers
    try:
        return frame, (), workers.run(lambda: see(frame), run.deadline)
    except SizeError as error:
        own = model.own_frame(photo.size)
        if size != "fit" or frame.input == own.input:  # "fit" chooses no size, so the network's own may replace it
            raise
        shape = "a square" if own.input[0] == own.input[1] else "{} x {} pixels".format(*own.input)
        said = f"{error}: the whole image was squeezed to {shape} instead"
        return own, (said,), workers.run(lambda: see(own), run.deadline)
