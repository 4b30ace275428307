"""Guards against the code of networks, which may raise any error and change torch's defaults for the process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from camserve.errors import CamserveError, ModelError, first_line, is_interrupt
from camserve.system.shortage import is_shortage


@contextmanager
def foreign_code(what: str) -> Iterator[None]:
    """Run foreign code inside the block. Raises ModelError for any of its errors; restores torch's defaults.

    what: the network's name in errors.
    """
    before = _defaults()
    try:
        yield
    except BaseException as error:
        if isinstance(error, CamserveError) or is_shortage(error) or is_interrupt(error):
            raise
        raise ModelError(f"{what} cannot be loaded: {type(error).__name__}: {first_line(error)}") from error
    finally:
        _set_defaults(*before)


def _defaults() -> tuple[Any, Any]:
    """torch's default type and device; None if torch is not loaded."""
    torch = sys.modules.get("torch")
    return (None, None) if torch is None else (torch.get_default_dtype(), torch.get_default_device())


def _set_defaults(dtype: Any, device: Any) -> None:
    torch = sys.modules.get("torch")
    if torch is None or _defaults() == (dtype, device):
        return
    torch.set_default_dtype(dtype or torch.float32)
    torch.set_default_device(None if device is None or device.type == "cpu" else device)
