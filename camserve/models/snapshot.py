"""A copy of a user's network that shares nothing with it.

The copy is in evaluation mode, frozen, in float32, without wrappers. Half precision is widened: values stay the same,
and sums no longer overflow. Double precision is rounded, by less than an answer shows. The user's module does not
change.
"""

import copy
import hashlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from camserve.errors import ModelError


def snapshot(module: nn.Module) -> nn.Module:
    """An independent copy of `module`, ready for explanations. Raises ModelError if it cannot be copied."""
    inner = unwrapped(module)
    check_whole(inner)
    try:
        with torch.inference_mode(False):  # inside a caller's inference mode, copies could never be differentiated
            copied = copy.deepcopy(inner, _detached(inner))
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"cannot copy {type(inner).__name__}: {error}. "
            "Remove attributes that are not parameters, buffers or settings"
        ) from None
    for part in copied.modules():
        part._backward_hooks.clear()  # they act on gradients, never on the answer
        part._backward_pre_hooks.clear()
    return frozen(copied if _is_float32(copied) else copied.float())


def check_whole(module: nn.Module) -> None:
    """Raise ModelError for a network without weights, or with layers that camserve cannot inspect."""
    name = type(module).__name__
    if isinstance(module, torch.jit.ScriptModule):
        raise ModelError(
            f"{name} is TorchScript, whose layers camserve cannot inspect; load the nn.Module that it was made from"
        )
    if any(".quantized" in type(part).__module__ and "torch" in type(part).__module__ for part in module.modules()):
        raise ModelError(
            f"{name} has quantised layers, which compute in whole numbers and have no gradient; load the network from "
            "before quantisation"
        )
    for where, tensor in (*module.named_parameters(), *module.named_buffers()):
        if is_lazy(tensor):
            raise ModelError(f"'{where}' of {name} has no shape yet (a lazy layer); call the network once on an image")
        if tensor.is_meta:
            raise ModelError(f"'{where}' of {name} is on the device 'meta', without values; load its weights first")


def frozen(module: nn.Module) -> nn.Module:
    """`module` itself, in evaluation mode and without gradients of its parameters."""
    return module.eval().requires_grad_(False)


def add_weights(digest: "hashlib._Hash", module: nn.Module) -> None:
    """Add every parameter and buffer, by name, with its type and shape, to a hash."""
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())


def unwrapped(module: nn.Module) -> nn.Module:
    """The network inside DataParallel, DistributedDataParallel and torch.compile."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        if isinstance(module, parallel):
            module = module.module
        elif isinstance(compiled := getattr(module, "_orig_mod", None), nn.Module):
            module = compiled
        else:
            return module


def _is_float32(module: nn.Module) -> bool:
    tensors = (*module.parameters(), *module.buffers())
    return all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())


def _detached(module: nn.Module) -> dict[int, Any]:
    """deepcopy's memo for tensors with a history, which deepcopy refuses; a forward pass may leave such tensors."""
    kept = (value for part in module.modules() for value in vars(part).values())
    return {id(tensor): tensor.detach() for value in kept for tensor in _tensors_in(value) if not tensor.is_leaf}


def _tensors_in(value: Any, depth: int = 3) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif depth and isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(one, depth - 1)
