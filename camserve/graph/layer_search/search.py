"""Find the layer to explain: the last activation after which only pooling comes before the answer.

The search uses what the network does, not the names of layers or the number of axes. A value qualifies if

    it has places             a grid of cells with the image's proportions, which grows with the image
    it counts                 the answer changes with it, in more than one place
    nothing goes around it    every path from the image to the answer goes through it (separators.py)
    its places are right      a change of the image changes it most at the same place; tested unless arithmetic shows it

After the last such value, a transformer's class token may still read the patches in later layers. The last tokens that
only the class token reads are then used instead, because all information of the patches goes through them.
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

# Most values after the last separator that are tested as the tokens that the class token reads.
_MOST_TRIED = 12


@dataclass
class _Value:
    """One value of the forward pass. key: its position in autograd's graph when it was made."""

    name: str
    value: Tensor
    key: Key | None
    gradient: Tensor | None = None


@dataclass(frozen=True)
class Choice:
    """The layer to explain. note: a warning for every explanation at this layer; "" if there is no warning."""

    found: Found
    note: str = ""

    def notes_at(self, layers: Collection[str]) -> tuple[str, ...]:
        """The note, if this layer is one of `layers`."""
        return (self.note,) if self.note and self.found.name in layers else ()


def find_layer(network: Watched, found: dict[str, Found]) -> Choice:
    """The best layer of `places`. Raises ModelError, which names candidates, if no layer qualifies."""
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
    "the network moves places: if the image changes at one place, layer '{}' changes at another, so the heat may lie "
    "at a wrong place"
)


_ASSUMED = (
    "the network mixes all places so much that camserve cannot check where the cells of layer '{}' lie; it assumes row "
    "by row"
)


def _about_the_rest(
    counted: list[_Value], strict: list[_Value], grown: list[_Value], chosen: _Value, found: dict[str, Found]
) -> str:
    """A sentence that says why the chosen layer is not the last one; "" if it is."""
    behind = counted[counted.index(chosen) + 1 :]
    without_places = [one.name for one in behind if one in strict and one in grown]
    if without_places:
        return (
            f"after layer '{chosen.name}' camserve cannot tell where in the image the network's values lie "
            f"('{without_places[-1]}'), so this layer is explained and not the last one"
        )
    own = found[chosen.name]
    around = [one.name for one in behind if one not in strict and _is_other_map(found[one.name], own, one, chosen)]
    if around:
        return (
            f"layer '{chosen.name}' is the last one that everything passes through, but after it the network has "
            f"several branches ('{around[-1]}' is on one of them); if it is too early, choose another layer with layer="
        )
    return ""


def _is_other_map(one: Found, own: Found, value: _Value, chosen: _Value) -> bool:
    """Whether a value after the layer is another feature map: not the layer itself, a gate or attention weights."""
    attention = math.prod(own.grid)
    is_map = not one.layout.is_tokens and one.shape[0] > 1 and not own.layout.is_tokens
    return is_map and value.key != chosen.key and not any(0 <= side - attention <= 8 for side in one.grid)


def _before_projection(network: Watched, grown: list[_Value], chosen: _Value, found: dict[str, Found]) -> _Value:
    """Go back from linear layers that change the width: they make keys and values for a pooling by attention."""
    own = found[chosen.name]
    before = grown[: grown.index(chosen)]
    while own.layout.is_tokens and network.is_linear(chosen.name) and own.shape[0] != network.given.classes and before:
        earlier = found[before[-1].name]
        if earlier.shape[1:] != own.shape[1:] or earlier.shape[0] == own.shape[0]:
            break
        chosen, own = before.pop(), earlier
    return chosen


def _pass(network: Watched) -> tuple[list[_Value], Tensor, Tensor]:
    """Every value of one forward pass at the training size, with the gradient of a random sum of logits."""
    image = network.given.image().requires_grad_()
    values: dict[str, _Value] = {}

    def see(name: str, value: Tensor) -> None:
        values.pop(name, None)
        values[name] = _Value(name, value, key_of(value))

    try:
        # torch's warnings are about the user's code (a tensor converted to a number) and do not help here
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
    "there is no gradient from the network's answer to its input{}: it computes in integers (int8), or its forward "
    "uses torch.no_grad, detach or out=. Load the network in floating point, and without these"
)


def _weights(answer: Tensor) -> Tensor:
    return torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).to(answer)


def _counts(one: _Value, found: Found) -> bool:
    """Whether the answer changes with the value.

    Tokens must have more than one place that changes the answer. After a class token, most places must: the class token
    may have read the patches already, and only a few may still be used (VOLO adds each class's largest patch).
    """
    if one.gradient is None:
        return False
    size = round(found.grid[0] * found.layout.stride[0]), round(found.grid[1] * found.layout.stride[1])
    count = int(found.layout.as_map(one.gradient, size).ne(0).any(1).sum())
    if found.layout.prefix:
        return 2 * count > math.prod(found.grid)
    return count > 1 if found.layout.is_tokens else count > 0


def _of_the_patches(network: Watched, counted: list[_Value], found: dict[str, Found], chosen: _Value) -> _Value:
    """The last tokens after `chosen` that only the class token reads, so that no other path from the patches exists."""
    own = found[chosen.name]
    if not own.layout.is_tokens:
        return chosen
    behind = counted[counted.index(chosen) + 1 :]
    near = [one for one in behind if found[one.name].layout.prefix and found[one.name].shape == own.shape]
    near = [one for one in near if one.key != chosen.key]
    return next((one for one in reversed(near[-_MOST_TRIED:]) if not _goes_around(network, one.name, own)), chosen)


def _goes_around(network: Watched, name: str, source: Found) -> bool:
    """Whether the patches in `source` reach the answer on a path that does not go through the value `name`."""
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
    """The name to show: of all names of this value, the one with the fewest dots."""
    same = [one.name for one in values if one.key == last.key and one.name in found]
    return min(same, key=lambda name: (name.count("."), len(name)))


def _none_found(network: Watched, candidates: list[str]) -> str:
    names = ", ".join(repr(name) for name in candidates[-6:])
    what = f"Choose a layer with layer=; the last candidates are {names}" if names else "No value has several places"
    return (
        f"{type(network.given.module).__name__} has no layer that everything passes through on the way to the answer "
        f"and that still has places (feature maps or tokens), so camserve cannot choose a layer. {what}"
    )
