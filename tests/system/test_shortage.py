"""Too little memory is one error, whichever library says it; nothing else is."""

import numpy as np
import pytest
import torch

from camserve.errors import OutOfMemory
from camserve.system.shortage import is_shortage, one_shortage


@pytest.mark.parametrize("ask", [lambda: torch.empty(2**60, dtype=torch.uint8), lambda: np.empty(2**60, np.uint8),
                                 lambda: bytearray(2**60)])  # fmt: skip
def test_every_library_s_words_are_known(ask: object) -> None:
    with pytest.raises(OutOfMemory, match=r"^'cat.jpg': there is too little memory"), one_shortage("'cat.jpg'"):
        ask()


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"), one_shortage("'cat.jpg'"):
        raise RuntimeError("shapes differ")
    assert not is_shortage(ValueError("out of memory"))
