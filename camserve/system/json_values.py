"""Values as JSON can hold them: it has no word for a number that is not finite."""

import math
from typing import Any


def finite(value: Any) -> Any:
    """`value` with None in place of every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
