"""A copy of a user's network to look at, however it is kept, that shares nothing with it.

In evaluation mode, frozen, in float32, without wrappers and forward hooks. Half precision is widened: its values stay
what they are, and sums no longer overflow. The user's module is only read.
"""

import copy
import hashlib
from typing import Any

import torch
from torch import Tensor, nn

from camserve.errors import ModelError


def snapshot(module: nn.Module) -> nn.Module:
    """An independent copy of `module`, ready to be looked at. Raises ModelError where it cannot be copied."""
    inner = unwrapped(module)
    try:
        with torch.inference_mode(False):  # inside a caller's inference mode, copies could never be differentiated
            copied = copy.deepcopy(inner, _detached(inner))
    except (RuntimeError, TypeError) as error:
        raise ModelError(
            f"cannot copy {type(inner).__name__}: {error}. Remove what is no parameter, buffer or setting from it"
        ) from None
    for part in copied.modules():
        # A user's hooks are for the user's own calls. Pre-hooks stay: old-style weight and spectral norm are such.
        part._forward_hooks.clear()
        part._backward_hooks.clear()
    return frozen(copied.float() if _is_half(copied) else copied)


def frozen(module: nn.Module) -> nn.Module:
    """`module` itself, in evaluation mode and without gradients of its parameters."""
    return module.eval().requires_grad_(False)


def add_weights(digest: "hashlib._Hash", module: nn.Module) -> None:
    """Put every parameter and buffer, by name, with its type and shape, into a hash."""
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


def _is_half(module: nn.Module) -> bool:
    tensors = (*module.parameters(), *module.buffers())
    return any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors)


def _detached(module: nn.Module) -> dict[int, Any]:
    """deepcopy's memo for tensors with a history, which it refuses: features that a forward pass left in the module."""
    kept = (value for part in module.modules() for value in vars(part).values())
    return {id(value): value.detach() for value in kept if isinstance(value, Tensor) and not value.is_leaf}
