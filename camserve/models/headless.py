"""A classifier without its last linear layer, which gives features: an embedding."""

import copy
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from camserve.errors import OptionError
from camserve.graph.hooked import hooked
from camserve.graph.original.agreement import same
from camserve.models.classifier import Classifier

_made: WeakKeyDictionary[Classifier, Classifier] = WeakKeyDictionary()


def as_embedding(model: Classifier) -> Classifier:
    """`model` itself if its outputs are an embedding; else the same network without the layer that gives the logits.

    Made at the first use and cached; both share their weights. Raises OptionError if the last layer is not linear.
    """
    if model.card.scores == "embedding":
        return model
    if model not in _made:
        _made[model] = _without_last(model)
    return _made[model]


def _without_last(model: Classifier) -> Classifier:
    name = model.workers.run(lambda: _last_linear(model))
    if name is None:
        raise OptionError(
            f"'{model.name}' does not end in a linear layer, so there are no features before it to compare two "
            "photographs with: load the part of the network that gives features, with scores='embedding'"
        )
    weights = (*model.module.parameters(), *model.module.buffers())
    module = copy.deepcopy(model.module, {id(one): one for one in weights})
    module.set_submodule(name, nn.Identity())
    return model.of_module(module, "embedding")


def _last_linear(model: Classifier) -> str | None:
    """The linear layer whose output is the logits."""
    given = model.network.given
    images = given.image()
    linear: list[str] = [name for name, part in given.module.named_modules() if isinstance(part, nn.Linear)]
    for name in reversed(linear):
        kept = list[Tensor]()
        with torch.no_grad(), given.network() as network, hooked(network.get_submodule(name), kept.append):
            logits = given.ask(network, images)
        if kept and same(kept[-1], logits):
            return name
    return None
