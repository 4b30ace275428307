"""What each kind of head means for explanations: which maps are exact, and which need no backward pass."""

from dataclasses import dataclass
from typing import Any

from camserve.catalogue.head_kinds import HeadKind
from camserve.geometry.receptive_field import Field
from camserve.models.classifier import Classifier
from camserve.models.inspection.layer_costs import field_dict
from camserve.models.inspection.operation import Shape

# (what it is, what has a closed form)
_KINDS = {
    HeadKind.LINEAR: (
        "global average pooling and one linear layer",
        "CAM is exact, for every class from one forward pass. Grad-CAM, HiResCAM and XGrad-CAM are the same map "
        "divided by the number of cells, and no method needs a backward pass",
    ),
    HeadKind.CLASS_MAP: (
        "the layer is the class map itself, one channel a class, averaged to the logits",
        "CAM is exact, for every class from one forward pass, and no method needs a backward pass",
    ),
    HeadKind.COSINE: (
        "global average pooling, one linear layer, and the cosine of that feature with each class",
        "CAM is exact, for every class from one forward pass, given the length of the feature. Grad-CAM, HiResCAM and "
        "XGrad-CAM, which hold that length fixed, are the same map divided by the number of cells",
    ),
    HeadKind.POOLED: (
        "global average pooling, then more than one linear layer",
        "Gradients are the same at every place, so Grad-CAM, HiResCAM and XGrad-CAM are one map. There is no CAM",
    ),
    HeadKind.GENERAL: (
        "neither global average pooling nor a class map",
        "Nothing in closed form: gradients come from a backward pass through it",
    ),
}


@dataclass(frozen=True)
class InspectedHead:
    """The part of the network after the explained layer.

    kind, what, closed_form: in words. layer: its name; maps: (K, h, w); field: the receptive field of
    one of its cells, None if it is unknown.
    """

    kind: HeadKind
    what: str
    closed_form: str
    layer: str
    maps: Shape
    field: Field | None

    def to_dict(self) -> dict[str, Any]:
        """As values for JSON."""
        field = None if self.field is None else field_dict(self.field)
        return {
            "kind": self.kind,
            "what": self.what,
            "closed_form": self.closed_form,
            "layer": self.layer,
            "maps": list(self.maps),
            "receptive_field": field,
        }


def inspect_head(model: Classifier) -> InspectedHead:
    """The head after the model's own layer."""
    layer = model.layer()
    kind = layer.head.kind
    what, closed_form = _KINDS[kind]
    return InspectedHead(kind, what, closed_form, layer.name, model.layers()[layer.name], layer.field())
