"""All facts about a network that need no photograph."""

from dataclasses import dataclass
from typing import Any

from torch import fx

from camserve.graph.original.given import Given
from camserve.graph.receptive.walk import Fields, receptive_fields
from camserve.graph.trace import trace
from camserve.models.classifier import Classifier
from camserve.models.inspection.blocks import Block, blocks_of
from camserve.models.inspection.head_facts import InspectedHead, inspect_head
from camserve.models.inspection.hooked_layers import FUNCTIONS, record
from camserve.models.inspection.layer_costs import InspectedLayer, inspect_layers
from camserve.models.inspection.separable import Separable, find_separable
from camserve.models.inspection.sizes import InputSizes, try_sizes


@dataclass(frozen=True)
class Inspection:
    """The blocks, the costs and the input sizes of a network.

    model: its name. outputs: the names of all outputs, if the network has several; output: the inspected one. size:
    (w, h) of the training input, pixels; every figure is for one image of that size. channels: a sentence about
    them; "" if they are red, green and blue. traced: whether functions between layers are included.
    layers: in the order of use. separable: depthwise separable convolutions. Only layers that run in a classification
    are included: the auxiliary classifiers of GoogLeNet and Inception are not.
    """

    model: str
    size: tuple[int, int]
    channels: str
    classes: int
    traced: bool
    layers: tuple[InspectedLayer, ...]
    separable: tuple[Separable, ...]
    head: InspectedHead
    sizes: InputSizes
    outputs: tuple[str, ...] = ()
    output: str | None = None

    @property
    def parameters(self) -> int:
        """Number of weights; a weight that is used several times counts once."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, without those in `not_counted`; see camserve.models.inspection.cost."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def not_counted(self) -> tuple[str, ...]:
        """Kinds of operations whose cost is unknown."""
        kinds = tuple(dict.fromkeys(layer.kind for layer in self.layers if layer.macs is None))
        return kinds if self.traced else (*kinds, FUNCTIONS)

    @property
    def standard_macs(self) -> int:
        """The cost of the network if depthwise separable convolutions were standard ones."""
        return self.macs + sum(pair.standard_macs - pair.macs for pair in self.separable)

    def blocks(self) -> list[Block]:
        """The network in a few rows, in order."""
        return blocks_of(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """As values for JSON."""
        return {
            "model": self.model,
            "input_size": self.size[0] if self.size[0] == self.size[1] else list(self.size[::-1]),
            **({"channels": self.channels} if self.channels else {}),
            "classes": self.classes,
            "outputs": list(self.outputs),
            "output": self.output,
            "parameters": self.parameters,
            "macs": self.macs,
            "traced": self.traced,
            "not_counted": list(self.not_counted),
            "head": self.head.to_dict(),
            "input_sizes": self.sizes.to_dict(),
            "depthwise_separable": {
                "macs": sum(pair.macs for pair in self.separable),
                "standard_macs": sum(pair.standard_macs for pair in self.separable),
                "network_standard_macs": self.standard_macs,
                "pairs": [pair.to_dict() for pair in self.separable],
            },
            "layers": [layer.to_dict() for layer in self.layers],
        }


def inspect_model(model: Classifier) -> Inspection:
    """Inspect every layer of `model`, and try which input sizes it takes.

    The layers are the network's own. The sizes are those of the network as it is explained, in which a flattened map
    and the linear layers after it become convolutions. Costs a few forward passes on the pool of workers of this
    process; the model does not change.
    """
    return model.workers.run(lambda: _inspected(model))


def _inspected(model: Classifier) -> Inspection:
    given, traced = model.network.given, model.network.graph is not None
    graph, fields = _traced(given) if traced else record(given)
    return Inspection(
        model=model.name,
        size=given.size,
        channels=model.card.input.about_channels,
        classes=len(model.labels),
        traced=traced,
        layers=inspect_layers(graph, fields),
        separable=find_separable(graph, fields),
        head=inspect_head(model),
        sizes=try_sizes(model.network.cut(model.default_layer), given.size, given.channels),
        outputs=() if model.output is None else model.outputs,
        output=model.output,
    )


def _traced(given: Given) -> tuple[fx.GraphModule, Fields]:
    graph = trace(given.module, given.keyword).eval()
    return graph, receptive_fields(graph, given.size, channels=given.channels)
