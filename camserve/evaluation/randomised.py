"""Copies of a network with random weights: each copy has more random layers, from the output down to the input.

The network itself is never changed. Adebayo et al., NeurIPS 2018, arXiv:1810.03292, "cascading randomization".
"""

import copy
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from camserve.graph.original.given import Given
from camserve.graph.original.state import fresh, same_chance

# The shares of random layers, from the output down. Before them comes a copy in which only the last layer is random.
SHARES = (0.25, 0.5, 1.0)


def with_weights(given: Given) -> list[str]:
    """The names of all modules of a network that hold weights themselves, in the order of their use.

    A module that is not called itself, because another one uses its weights, has the place of the module around it.
    """
    network, order = fresh(given.module), list[str]()
    for name, part in network.named_modules():
        part.register_forward_pre_hook(_noting(order, name))
    with torch.no_grad(), same_chance():
        given.ask(network, given.image())
    place = {name: number for number, name in reversed(list(enumerate(order)))}
    own = [name for name, part in network.named_modules() if any(True for _ in part.parameters(recurse=False))]
    return sorted(own, key=lambda name: _place(name, place))


def _noting(order: list[str], name: str) -> Callable[..., None]:
    return lambda *called: order.append(name)


def _place(name: str, place: dict[str, int]) -> int:
    while name and name not in place:
        name = name.rpartition(".")[0]
    return place.get(name, 0)


def cascade(given: Given, seed: int = 0) -> Iterator[tuple[float, nn.Module]]:
    """Yield (share of random layers, copy of the network) with more and more random layers; the last share is 1."""
    names, module = with_weights(given)[::-1], copy.deepcopy(given.module)
    done = 0
    for share in (0.0, *SHARES):
        count = max(1, round(share * len(names)))
        if count > done:
            randomise(module, names[done:count], 1000 * seed + done)
            done = count
            yield done / len(names), copy.deepcopy(module)


def randomise(module: nn.Module, names: Sequence[str], seed: int) -> None:
    """Give these parts of a module random weights, in place: newly initialised, or shuffled if they cannot be.

    Weights that are initialised to a constant, such as a bias of 0, get that constant.
    """
    with torch.no_grad(), same_chance(seed):
        for name in names:
            part = module.get_submodule(name)
            before = [weight.clone() for weight in part.parameters(recurse=False)]
            _reset(part)
            for weight, old in zip(part.parameters(recurse=False), before, strict=True):
                if torch.equal(weight, old):
                    weight.copy_(_shuffled(old))


def _reset(part: nn.Module) -> None:
    reset = getattr(part, "reset_parameters", None)
    if not callable(reset):
        return
    try:
        reset()
    except Exception:  # a user's code, which may need arguments; its weights are shuffled instead
        return


def _shuffled(weight: Tensor) -> Tensor:
    flat = weight.flatten()
    return flat[torch.randperm(len(flat), device=flat.device)].reshape(weight.shape)
