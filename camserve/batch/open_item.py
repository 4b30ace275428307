"""Opens the photograph of one item of a plan, from a local path or a URI."""

from io import BytesIO
from pathlib import PurePosixPath

from camserve.datasets.inputs import Item
from camserve.datasets.remote import is_remote, read_remote
from camserve.explain.pipeline import open_photo
from camserve.images.arrays.drafts import Smaller
from camserve.images.reading import Photo
from camserve.model import Model


def open_item(model: Model, item: Item, smaller: Smaller | None = None) -> Photo:
    """Open the photograph from a local path or a URI. smaller: see `open_photo`. Raises ImageError."""
    if not is_remote(item.path):
        return open_photo(model, item.path, smaller)
    stream = BytesIO(read_remote(item.path, model.settings.limits.max_local_bytes))
    stream.name = PurePosixPath(item.name).name  # the name in errors
    return open_photo(model, stream, smaller)
