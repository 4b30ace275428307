"""Where to look in a network: the last activation on which the answer depends through pooling alone.

Found by what the network does, not by what its layers are called or by the number of their axes. A value qualifies
where

    it has places             one a cell of a grid with the image's proportions, which grows with the image
    it counts                 the answer changes with it, in more than one place
    nothing goes around it    every path from the image to the answer goes through it (separators.py)
    its places are places     changing the image somewhere changes it most there; tried where arithmetic does not say so

Behind the last such value a transformer's class token still reads: what it alone reads, in the tokens' own width, is
taken instead, as a separator of the patches.
"""

import math
import warnings
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from camserve.errors import ModelError, first_line
from camserve.graph.differentiation import writing_allowed
from camserve.graph.layer_search.places import Found, Watched, grown_in
from camserve.graph.layer_search.placing import placed_in
from camserve.graph.layer_search.separators import Key, key_of, separators

# Values behind the last separator that are tried as what the class token reads.
_MOST_TRIED = 12


@dataclass
class _Value:
    """One value of the pass that is looked into. key: where it stood in autograd's record when it was made."""

    name: str
    value: Tensor
    key: Key | None
    gradient: Tensor | None = None


@dataclass(frozen=True)
class Choice:
    """The layer to look at. note: what every explanation at it has to say; "" where it is all that it should be."""

    found: Found
    note: str = ""

    def notes_at(self, layers: Collection[str]) -> tuple[str, ...]:
        """The note, where this layer is one of those looked at."""
        return (self.note,) if self.note and self.found.name in layers else ()


def find_layer(network: Watched, found: dict[str, Found]) -> Choice:
    """The layer that a careful person would name, of `places`. Raises ModelError, which names candidates, for none."""
    values, answer, image = _pass(network)
    counted = [one for one in values if one.name in found and _counts(one, found[one.name])]
    counted = counted or [one for one in values if one.name in found and one.key is not None]  # weights of zeros
    all_pass = separators(answer, image)
    strict = [one for one in counted if one.key in all_pass]
    growing = grown_in(network, found)
    grown = [one for one in strict if one.name in growing]
    placed, assumed = placed_in(network, [found[one.name] for one in grown])
    chosen = next((one for one in reversed(grown) if one.name in placed), None)
    if chosen is None:
        chosen = next((one for one in reversed(grown) if not found[one.name].layout.is_tokens), None)
        if chosen is None:
            raise ModelError(_none_found(network, [one.name for one in counted]))
        return Choice(found[_outermost(chosen, values, found)], _ELSEWHERE.format(chosen.name))
    note = _about_the_rest(counted, strict, grown, chosen, found)
    if chosen.name in assumed:
        note = note or _ASSUMED.format(chosen.name)
    chosen = _before_projection(network, grown, chosen, found)
    last = _of_the_patches(network, counted, found, chosen)
    return Choice(found[_outermost(last, values, found)], note)


_ELSEWHERE = (
    "the network moves what it sees: where the image is changed, layer '{}' changes elsewhere, so the heat may not lie "
    "on what it speaks of"
)


_ASSUMED = (
    "the network mixes all places so much that camserve cannot check where the cells of layer '{}' lie: row by row is "
    "assumed"
)


def _about_the_rest(
    counted: list[_Value], strict: list[_Value], grown: list[_Value], chosen: _Value, found: dict[str, Found]
) -> str:
    """What keeps a layer from being the last one with places, in words."""
    behind = counted[counted.index(chosen) + 1 :]
    without_places = [one.name for one in behind if one in strict and one in grown]
    if without_places:
        return (
            f"behind layer '{chosen.name}' the network's values have an order of their own, in which camserve cannot "
            f"tell where in the image they lie ('{without_places[-1]}'): not the last layer is explained but this one"
        )
    own = found[chosen.name]
    around = [one.name for one in behind if one not in strict and _is_other_map(found[one.name], own, one, chosen)]
    if around:
        return (
            f"layer '{chosen.name}' is the last one that everything passes through, but behind it the network "
            f"continues along several ways ('{around[-1]}' is on one): it may be early; name another with layer="
        )
    return ""


def _is_other_map(one: Found, own: Found, value: _Value, chosen: _Value) -> bool:
    """Whether a value behind the layer is a feature map of its own, neither the layer nor a gate or attention."""
    attention = math.prod(own.grid)
    is_map = not one.layout.is_tokens and one.shape[0] > 1 and not own.layout.is_tokens
    return is_map and value.key != chosen.key and not any(0 <= side - attention <= 8 for side in one.grid)


def _before_projection(network: Watched, grown: list[_Value], chosen: _Value, found: dict[str, Found]) -> _Value:
    """What a linear layer of another width was given: it makes keys and values for a pooling by attention."""
    own = found[chosen.name]
    before = grown[: grown.index(chosen)]
    while own.layout.is_tokens and network.is_linear(chosen.name) and own.shape[0] != network.given.classes and before:
        earlier = found[before[-1].name]
        if earlier.shape[1:] != own.shape[1:] or earlier.shape[0] == own.shape[0]:
            break
        chosen, own = before.pop(), earlier
    return chosen


def _pass(network: Watched) -> tuple[list[_Value], Tensor, Tensor]:
    """Every value of one pass at the size trained at, with the gradient of a random sum of the logits by it."""
    image = network.given.image().requires_grad_()
    values: dict[str, _Value] = {}

    def see(name: str, value: Tensor) -> None:
        values.pop(name, None)
        values[name] = _Value(name, value, key_of(value))

    try:
        # what torch warns of is the user's code, such as a tensor made a number, and of no use to them here
        with warnings.catch_warnings(action="ignore"), writing_allowed():
            answer = network.watch(image.clone(), see)
            if not answer.requires_grad:
                raise ModelError(_NO_GRADIENT.format(""))
            tracked = [one for one in values.values() if one.key is not None]
            score, wanted = (answer * _weights(answer)).sum(), [one.value for one in tracked]
            gradients = torch.autograd.grad(score, wanted, allow_unused=True, retain_graph=True)
    except RuntimeError as error:
        reason = first_line(error)
        raise ModelError(_NO_GRADIENT.format(f" ({reason})")) from None
    for one, gradient in zip(tracked, gradients, strict=True):
        one.gradient = gradient
    return list(values.values()), answer, image


_NO_GRADIENT = (
    "no gradient goes from the network's answer to its input{}: it computes in whole numbers (int8), or its forward "
    "uses torch.no_grad, detach, or results written with out=. Load the network in floating point, without those"
)


def _weights(answer: Tensor) -> Tensor:
    return torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).to(answer)


def _counts(one: _Value, found: Found) -> bool:
    """Whether the answer changes with it.

    With more than one place, where they are tokens; with most, where a class token stands before them, which else may
    have read all but a few before (VOLO adds the largest patch of each class to what its class token says).
    """
    if one.gradient is None:
        return False
    size = round(found.grid[0] * found.layout.stride[0]), round(found.grid[1] * found.layout.stride[1])
    count = int(found.layout.as_map(one.gradient, size).ne(0).any(1).sum())
    if found.layout.prefix:
        return 2 * count > math.prod(found.grid)
    return count > 1 if found.layout.is_tokens else count > 0


def _of_the_patches(network: Watched, counted: list[_Value], found: dict[str, Found], chosen: _Value) -> _Value:
    """What the class token alone reads behind `chosen`: the last tokens that nothing of the patches goes around."""
    own = found[chosen.name]
    if not own.layout.is_tokens:
        return chosen
    behind = counted[counted.index(chosen) + 1 :]
    near = [one for one in behind if found[one.name].layout.prefix and found[one.name].shape == own.shape]
    near = [one for one in near if one.key != chosen.key]
    return next((one for one in reversed(near[-_MOST_TRIED:]) if not _goes_around(network, one.name, own)), chosen)


def _goes_around(network: Watched, name: str, source: Found) -> bool:
    """Whether something of the patches in `source` reaches the answer though the value `name` stands still."""
    kept: list[Tensor] = []

    def see(seen: str, value: Tensor) -> Tensor | None:
        if seen == source.name:
            kept[:] = [value]
        return value.detach() if seen == name else None

    with writing_allowed():
        answer = network.watch(network.given.image().requires_grad_().clone(), see)
        if not answer.requires_grad:
            return False
        (gradient,) = torch.autograd.grad((answer * _weights(answer)).sum(), kept[0], allow_unused=True)
    return gradient is not None and bool(source.layout.as_map(gradient, network.given.size).ne(0).any())


def _outermost(last: _Value, values: list[_Value], found: dict[str, Found]) -> str:
    """The name to show: of all that are this same value, the one with the fewest dots."""
    same = [one.name for one in values if one.key == last.key and one.name in found]
    return min(same, key=lambda name: (name.count("."), len(name)))


def _none_found(network: Watched, candidates: list[str]) -> str:
    names = ", ".join(repr(name) for name in candidates[-6:])
    what = f"The last that count are {names}: name one with layer=" if names else "No value has more than one place"
    return (
        f"{type(network.given.module).__name__} has no layer that everything passes through on the way to the answer "
        f"and that still has places (feature maps or tokens), so camserve does not choose one. {what}"
    )
