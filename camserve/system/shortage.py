"""Too little memory, which libraries tell in many words, as the one error that it is."""

from collections.abc import Iterator
from contextlib import contextmanager

from camserve.errors import OutOfMemory

# In a RuntimeError: torch's, of its CPU and of a graphics card; the C++ library's, which OpenVINO passes on.
_WORDS = ("can't allocate memory", "out of memory", "bad_alloc", "bad allocation")


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that memory was too little, and nothing of what was asked for."""
    if isinstance(error, RuntimeError):
        return any(word in str(error) for word in _WORDS)
    return isinstance(error, MemoryError | OutOfMemory)


@contextmanager
def one_shortage(what: str) -> Iterator[None]:
    """Raises OutOfMemory for any such error inside. what: was being done, to which thing."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise OutOfMemory(f"{what}: there is too little memory. Try again, or a smaller copy.") from None
