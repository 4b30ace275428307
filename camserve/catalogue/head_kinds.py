"""The kinds of head there are, as people read them. Loads no torch; `camserve.graph.heads` has what each does."""

from enum import StrEnum


class HeadKind(StrEnum):
    """What comes after a layer, from the most special to the most general."""

    LINEAR = "linear"
    CLASS_MAP = "class map"
    COSINE = "cosine"
    POOLED = "pooled"
    GENERAL = "general"

    @property
    def has_class_maps(self) -> bool:
        """Whether every class has a map whose mean, and a bias, is its logit."""
        return self in (HeadKind.LINEAR, HeadKind.CLASS_MAP, HeadKind.COSINE)
