"""Too little memory: libraries report it in many ways, and camserve with one error."""

from collections.abc import Iterator
from contextlib import contextmanager

from camserve.errors import OutOfMemory

# Texts of a RuntimeError: of torch, on CPU and GPU; of the C++ library, which OpenVINO passes on.
_WORDS = ("can't allocate memory", "out of memory", "bad_alloc", "bad allocation")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there was too little memory, and not that the request was wrong."""
    if isinstance(error, RuntimeError):
        return any(word in str(error) for word in _WORDS)
    return isinstance(error, MemoryError | OutOfMemory)


@contextmanager
def one_shortage(what: str) -> Iterator[None]:
    """Raise OutOfMemory for any such error inside the context. what: what was done, and with which object."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise OutOfMemory(f"{what}: there is too little memory. Try again, or a smaller copy.") from None
