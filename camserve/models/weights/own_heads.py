"""Heads that users put in the place of an architecture's own: rebuilt from a checkpoint, if it determines them.

The names and shapes in a file give its linear layers and batch normalisations, and their order. A module without
weights leaves only a gap in the numbering. A gap before a single layer is taken for dropout, which does nothing in
evaluation. Any other gap may be an activation, and the file does not say which, so the user must.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import Tensor, nn

from camserve.errors import ModelError
from camserve.models.architectures.by_name import code_of
from camserve.models.weights.checkpoints import Checkpoint
from camserve.models.weights.state_dicts import Difference

_HEADS = ("fc", "_fc", "classifier", "head", "heads", "head_dist", "last_linear", "linear", "logits", "output")
_BATCH_NORM = {"running_mean", "running_var"}


class _TakenForDropout(nn.Identity):
    """Dropout in evaluation: it does nothing."""


@dataclass(frozen=True)
class _Layer:
    """A layer of a head. place: in its Sequential, None if it is the head itself. code: its source code."""

    place: int | None
    kind: str
    before: int
    after: int
    whole: bool

    @property
    def code(self) -> str:
        option = "" if self.whole else ", bias=False" if self.kind == "Linear" else ", affine=False"
        return f"nn.{self.kind}({', '.join(map(str, self._sides))}{option})"

    @property
    def _sides(self) -> tuple[int, ...]:
        return (self.before, self.after) if self.kind == "Linear" else (self.after,)

    def made(self) -> nn.Module:
        if self.kind == "Linear":
            return nn.Linear(self.before, self.after, bias=self.whole)
        return nn.BatchNorm1d(self.after, affine=self.whole)


def with_its_head(network: nn.Module, fitted: Checkpoint, architecture: str) -> nn.Module:
    """`network` with the head from the file, if only the head differs.

    architecture: as the user named it. A network with other differences is returned unchanged.
    Raises ModelError if the file has no head, or if it does not determine the head.
    """
    difference = Difference.between(fitted, network)
    if difference.missing and not difference.extra and not difference.wrong:
        _check_headed(difference.missing, fitted, architecture)
    place = _place(difference, network)
    if place is None:
        return network
    tensors = fitted.under(f"{place}.").tensors
    layers = _layers(tensors)
    features = _features(network.get_submodule(place))
    if layers and not _fit(layers, features):
        return network
    if not layers or features is None or not _is_certain(layers):
        raise ModelError(_asking(place, layers, features, tensors, fitted.file, architecture))
    with torch.random.fork_rng(devices=[]):
        network.set_submodule(place, _made(layers))
    return network


def assumed(network: nn.Module) -> str:
    """What was assumed about a head that `with_its_head` made, in words; "" if nothing was."""
    found = [name for name, module in network.named_modules() if isinstance(module, _TakenForDropout)]
    return f"'{found[0]}' has no weights and is taken for dropout" if found else ""


def _check_headed(missing: Iterable[str], fitted: Checkpoint, architecture: str) -> None:
    """Raise ModelError if exactly the whole classifier is missing."""
    modules = {key.rpartition(".")[0] for key in missing}
    if not all(name.partition(".")[0] in _HEADS for name in modules):
        return
    if any(key.startswith(f"{name}.") for key in fitted.tensors for name in modules):
        return
    names = " and ".join(repr(name) for name in sorted(modules))
    raise ModelError(
        f"'{fitted.file}' fits '{architecture}', but has no classifier ({names}): it holds a network that ends in an "
        "embedding, as timm.create_model(..., num_classes=0) makes it, so it has no classes. Add a classifier, "
        "train it, and save both"
    )


def _place(difference: Difference, network: nn.Module) -> str | None:
    """The head that has all differences, as a dotted name; None if there are differences elsewhere, or none."""
    keys = {*difference.missing, *difference.extra, *difference.wrong}
    if not keys:
        return None
    levels = zip(*(key.split(".")[:-1] for key in keys), strict=False)
    common = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    names = {name for name, _ in network.named_modules()}
    while common and ".".join(common) not in names:
        common = common[:-1]
    return ".".join(common) if common and common[0] in _HEADS else None


def _layers(tensors: Mapping[str, Tensor]) -> list[_Layer]:
    """The layers of a head in order; [] if one is of another kind, or its name is not a number."""
    groups: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        where, _, name = key.rpartition(".")
        groups.setdefault(where, {})[name] = tensor
    if not all(where.isdecimal() for where in groups) and set(groups) != {""}:
        return []
    found = [_layer(int(where) if where else None, group) for where, group in groups.items()]
    return sorted((one for one in found if one), key=lambda one: one.place or 0) if all(found) else []


def _layer(place: int | None, group: Mapping[str, Tensor]) -> _Layer | None:
    names = set(group) - {"num_batches_tracked"}
    if names in ({"weight"}, {"weight", "bias"}) and group["weight"].ndim == 2:
        after, before = group["weight"].shape
        return _Layer(place, "Linear", before, after, "bias" in names)
    if names in (_BATCH_NORM, _BATCH_NORM | {"weight", "bias"}):
        channels = len(group["running_mean"])
        return _Layer(place, "BatchNorm1d", channels, channels, "weight" in names)
    return None


def _features(head: nn.Module) -> int | None:
    """The number of features that a head takes, if its input is a vector; else None."""
    parts = [part for part in head.modules() if not list(part.children())]
    first = next((part for part in parts if list(part.parameters())), None)
    return first.in_features if isinstance(first, nn.Linear) and isinstance(head, nn.Linear | nn.Sequential) else None


def _fit(layers: list[_Layer], features: int | None) -> bool:
    before = [layers[0].before if features is None else features, *(one.after for one in layers[:-1])]
    return all(one.before == width for one, width in zip(layers, before, strict=True))


def _is_certain(layers: list[_Layer]) -> bool:
    """Whether no module can be between the layers; one module may be before the first."""
    first = layers[0].place or 0
    return first <= 1 and [one.place or 0 for one in layers] == list(range(first, first + len(layers)))


def _made(layers: list[_Layer]) -> nn.Module:
    if layers[0].place is None:
        return layers[0].made()
    return nn.Sequential(*(_TakenForDropout() for _ in range(layers[0].place)), *(one.made() for one in layers))


def _asking(
    place: str,
    layers: list[_Layer],
    features: int | None,
    tensors: Mapping[str, Tensor],
    file: str,
    architecture: str,
) -> str:
    """The error message: the head in the file, and the code to write."""
    own = f"'{file}' fits '{architecture}' except for '{place}', where it has a head of its own: "
    seat = "".join(f"[{name}]" if name.isdecimal() else f".{name}" for name in place.split("."))
    if layers and features is not None:
        told = ", ".join(f"'{place}.{one.place}' is {one.code.removeprefix('nn.')}" for one in layers)
        gaps = "modules around them have no weights, so the file does not tell an activation from dropout"
        head = f"nn.Sequential({', '.join(_guessed(layers))})  # with the activations that were there"
    else:
        told = ", ".join(f"'{place}.{key}' {tuple(tensor.shape)}" for key, tensor in list(tensors.items())[:6])
        gaps = "names and shapes do not tell how the head uses them"
        head = "...  # the head that was there"
    code = code_of(architecture)
    lines = ["from torch import nn", *code.imports, "", "def make():", f"    network = {code.call}"]
    lines += [f"    network{seat} = {head}", "    return network"]
    return (
        f"{own}{told}; {gaps}. Write the head in {code.file} and give {code.file}:make as the architecture:\n\n"
        + "\n".join(lines)
    )


def _guessed(layers: list[_Layer]) -> list[str]:
    """The layers with the most usual modules in the gaps: ReLU after a layer, then dropout."""
    made: list[str] = []
    for one in layers:
        gap = (one.place or 0) - len(made)
        made += (["nn.ReLU()"] if made and gap else []) + ["nn.Dropout()"] * (gap - bool(made))
        made.append(one.code)
    return made
