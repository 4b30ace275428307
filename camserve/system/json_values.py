"""Values for JSON, which cannot write numbers that are not finite."""

import math
from typing import Any


def finite(value: Any) -> Any:
    """Return `value` with None instead of every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
