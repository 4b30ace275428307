"""All that is known of a network without a photograph."""

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
    """What a network is made of, what it costs, and what it takes.

    model: its name. outputs: of a network with several, the names of all; output: the one that was looked at. size:
    (w, h) of the input it was trained at, pixels; every figure is for one image of that size. channels: what is known
    of them, in words; "" where they are red, green and blue. traced: whether functions between layers are seen as well.
    layers: in the order they are used. separable: depthwise separable convolutions. Only what runs when images are
    classified is here: GoogLeNet's and Inception's auxiliary classifiers are not.
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
        """Weights, each counted once however often it is used."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds for one image, less what is `not_counted`; see camserve.models.inspection.cost."""
        return sum(layer.macs or 0 for layer in self.layers)

    @property
    def not_counted(self) -> tuple[str, ...]:
        """Kinds of operations whose cost is not known."""
        kinds = tuple(dict.fromkeys(layer.kind for layer in self.layers if layer.macs is None))
        return kinds if self.traced else (*kinds, FUNCTIONS)

    @property
    def standard_macs(self) -> int:
        """What the network would cost with standard convolutions in place of depthwise separable ones."""
        return self.macs + sum(pair.standard_macs - pair.macs for pair in self.separable)

    def blocks(self) -> list[Block]:
        """The network in a few rows, in order."""
        return blocks_of(self.layers)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can carry."""
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
    """Look at every layer of `model`, and try which sizes of input it takes.

    The layers are the network's own; the sizes are those of the network as it is explained, where a flattened map
    and the linear layers after it have become convolutions. Costs a few forward passes on the process's pool of
    workers; the model stays as it was.
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
