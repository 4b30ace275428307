"""Whether weights fit a network: names, prefixes, shapes, and the number of classes."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from camserve.errors import ModelError
from camserve.models.weights.checkpoints import Checkpoint

Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

# Counts of batches and of operations: they do not affect answers.
_BOOKKEEPING = ("num_batches_tracked", "total_ops", "total_params")
# torchvision's inception_v3 and googlenet: heads that answer only in training, and that we do not build.
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
# torchvision's files of DenseNet are older than the names of its layers.
_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")

# torch's error for a network that renames keys while it loads them; its shapes cannot be compared before.
_MISMATCH = re.compile(r"size mismatch for (\S+): .*?shape torch\.Size\((.*?)\).*?torch\.Size\((.*?)\)")


class Difference(NamedTuple):
    """Differences between weights and a network. missing, extra: names in only one, sorted. wrong: other shapes."""

    missing: list[str]
    extra: list[str]
    wrong: Shapes

    @staticmethod
    def between(fitted: Checkpoint, network: nn.Module) -> "Difference":
        """Compare weights with the network's own names; ignore tensors that do not affect answers."""
        have = {key for key in fitted.tensors if not key.endswith(_BOOKKEEPING) and not key.startswith(_AUXILIARY)}
        need = {key for key in network.state_dict() if not key.endswith(_BOOKKEEPING)}
        return Difference(sorted(need - have), sorted(have - need), _other_shapes(fitted, network))


def fit(checkpoint: Checkpoint, network: nn.Module) -> tuple[Checkpoint, str]:
    """`checkpoint` with the network's own names, and the prefix that was removed.

    Wrappers leave prefixes: "module." of DataParallel, "_orig_mod." of torch.compile, the attribute
    of a training class that holds the network. Tensors beside it, such as a loss, are left out.
    Raises ModelError if several prefixes give a whole network.
    """
    needed = {key for key in network.state_dict() if not key.endswith(_BOOKKEEPING)}
    found = _renamed(checkpoint.tensors, needed)
    fitting = {prefix: sum(prefix + key in found for key in needed) for prefix in _prefixes(found)}
    best = max(fitting.values())
    equal = sorted((prefix for prefix, count in fitting.items() if count == best), key=lambda each: (len(each), each))
    if best == len(needed) and len(equal) > 1 and equal[0]:
        raise ModelError(
            f"'{checkpoint.file}' holds several such networks, under {_few(map(repr, equal))}; say which one with key, "
            f"as in key='{_key(checkpoint, equal[0])}' or --key {_key(checkpoint, equal[0])}"
        )
    # less than half is chance, not a prefix: it is another network, and errors show its keys as in the file
    prefix = equal[0] if 2 * best >= len(needed) else ""
    return replace(checkpoint, tensors=found).under(prefix), prefix


def classes_of(fitted: Checkpoint, network: nn.Module) -> int | None:
    """The number of classes of the weights, if the network differs only in that; else None.

    Then every tensor of another shape differs only in its first axis, and in the same way.
    """
    shapes = _other_shapes(fitted, network).values()
    if not all(have and need and have[1:] == need[1:] for have, need in shapes):
        return None
    counts = {(have[0], need[0]) for have, need in shapes}
    return next(iter(counts))[0] if len(counts) == 1 else None


def fill(network: nn.Module, fitted: Checkpoint, architecture: str) -> None:
    """Put the weights into the network. Raises ModelError with the keys or shapes that do not fit, and what to try."""
    _check_kinds(fitted, network, architecture)
    wrong = _other_shapes(fitted, network)
    try:
        missing, unexpected = network.load_state_dict(_state(fitted, network, wrong), strict=False)
    except Exception as error:  # a network may rename keys itself, or refuse old weights with its own error
        missing, unexpected, told = [], [], str(error)
        wrong |= {key: (_shape(have), _shape(need)) for key, have, need in _MISMATCH.findall(told)}
        if not wrong:
            raise ModelError(f"'{fitted.file}' does not fit '{architecture}': {told}") from None
    missing = [key for key in missing if not key.endswith(_BOOKKEEPING) and key not in wrong]
    extra = [key for key in unexpected if not key.endswith(_BOOKKEEPING) and not key.startswith(_AUXILIARY)]
    if missing or extra or wrong:
        difference = "; ".join(_differences(missing, extra, wrong))
        advice = _advice(fitted, network, only_shapes=not missing and not extra)
        raise ModelError(f"'{fitted.file}' does not fit '{architecture}': {difference}. {advice}")


def _check_kinds(fitted: Checkpoint, network: nn.Module, architecture: str) -> None:
    """Raise ModelError for weights of another kind than the network's: whole or complex numbers instead of floats."""
    own = network.state_dict()
    pairs = {key: (one, own[key]) for key, one in fitted.tensors.items() if key in own}
    wrong = [
        f"'{key}' is {_dtype(one)} and should be {_dtype(other)}"
        for key, (one, other) in pairs.items()
        if _kind(one) != _kind(other) and not key.endswith(_BOOKKEEPING)
    ]
    if wrong:
        raise ModelError(
            f"'{fitted.file}' does not fit '{architecture}': {_few(wrong)}. Save the weights as floats, as they were "
            "trained"
        )


def _kind(tensor: torch.Tensor) -> str:
    """The kind of its numbers. Quantised ones are whole numbers with a scale."""
    if tensor.is_quantized:
        return "quantised"
    return "complex" if tensor.is_complex() else "float" if tensor.is_floating_point() else "whole"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _state(fitted: Checkpoint, network: nn.Module, wrong: Shapes) -> "_StateDict":
    """The tensors that may fit, with the versions of the modules; a complete file without versions gets today's."""
    own = network.state_dict()
    state = _StateDict({key: tensor for key, tensor in fitted.tensors.items() if key not in wrong})
    state._metadata = fitted.versions or (getattr(own, "_metadata", None) if state.keys() >= own.keys() else None)
    return state


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in re.findall(r"\d+", text))


class _StateDict(dict[str, torch.Tensor]):
    """A dict with the versions of the modules that wrote it, like torch's own."""

    _metadata: Any = None


def _renamed(tensors: Mapping[str, torch.Tensor], needed: set[str]) -> Mapping[str, torch.Tensor]:
    """The tensors of an old DenseNet under today's names, unless the network itself has the old ones."""
    if any(_DENSENET.search(key) for key in needed):
        return tensors
    return {_DENSENET.sub(r"\1\2", key): tensor for key, tensor in tensors.items()}


def _key(checkpoint: Checkpoint, prefix: str) -> str:
    """The key with which `read_checkpoint` reads the part of `checkpoint` whose names begin with `prefix`."""
    return f"{checkpoint.within}.{prefix}".strip(".")


def _prefixes(keys: Iterable[str]) -> set[str]:
    """ "", "module.", "module.model." ...: every beginning of a key that ends with a dot."""
    return {""} | {key[: dot.end()] for key in keys for dot in re.finditer(r"\.", key)}


def _other_shapes(fitted: Checkpoint, network: nn.Module) -> Shapes:
    """{key: (shape in the file, shape in the network)} where they differ."""
    own = {
        k: v for k, v in network.state_dict().items() if not isinstance(v, UninitializedParameter | UninitializedBuffer)
    }
    pairs = {k: (tuple(t.shape), tuple(own[k].shape)) for k, t in fitted.tensors.items() if k in own}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _differences(missing: list[str], extra: list[str], wrong: Shapes) -> Iterator[str]:
    if missing:
        yield f"{_count(missing)} missing ({_few(map(repr, missing))})"
    if extra:
        yield f"{_count(extra)} unexpected ({_few(map(repr, extra))})"
    if wrong:
        told = (f"'{key}' is {have} and should be {need}" for key, (have, need) in wrong.items())
        yield f"{_count(list(wrong))} of another shape ({_few(told)})"


def _count(keys: list[str]) -> str:
    return f"{len(keys)} key is" if len(keys) == 1 else f"{len(keys)} keys are"


def _few(items: Iterable[str]) -> str:
    listed = list(items)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def _advice(fitted: Checkpoint, network: nn.Module, *, only_shapes: bool) -> str:
    classes = classes_of(fitted, network)
    if only_shapes and classes is not None:
        return f"If the file knows {classes} classes, let the factory take num_classes, or make that many"
    if not only_shapes and not fitted.tensors.keys() & network.state_dict().keys():
        return "They have no key in common: name the architecture that the weights were trained with"
    return "Name the architecture that the weights were trained with"
