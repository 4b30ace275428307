"""The kinds of head, by the names that people read. Loads no torch; `camserve.graph.heads` has the code of each."""

from enum import StrEnum


class HeadKind(StrEnum):
    """The kind of head after a layer, from the most special to the most general."""

    LINEAR = "linear"
    CLASS_MAP = "class map"
    COSINE = "cosine"
    POOLED = "pooled"
    GENERAL = "general"

    @property
    def has_class_maps(self) -> bool:
        """Whether every class has a map whose mean plus a bias is the class's logit."""
        return self in (HeadKind.LINEAR, HeadKind.CLASS_MAP, HeadKind.COSINE)
