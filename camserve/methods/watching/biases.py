"""Collect what the convolutions and batch norms of a network add to every input, while the network runs.

Functions are observed, not modules: a batch norm with an activation inside is observed before the activation. Only the
own thread is observed, and the network is not changed.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camserve.errors import OptionError
from camserve.methods.watching.rectifiers import steps_behind

_CONVOLUTIONS = (F.conv2d, F.conv_transpose2d)


class Biased(TorchFunctionMode):
    """Inside the context, collects the output of layers with a bias.

    kept: (value (N, K, h, w), bias (K,)), in the order in which the layers run; layers with a single cell are left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Tensor, Tensor]] = []
        self._seen = set[Any]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run `func`, and keep its output if it has a bias."""
        given = kwargs or {}
        value = func(*args, **given)
        bias = bias_of(func, args, given)
        if bias is None or not value.requires_grad:
            return value
        self._seen.add(value.grad_fn)
        if value.ndim != 4 or value.shape[-2:].numel() == 1:
            return value
        self.kept.append((value, bias))
        return value.clone()  # an in-place ReLU would change the kept tensor

    def check(self, logits: Tensor) -> None:
        """Raise OptionError if a layer that led to `logits` has a bias and was not observed."""
        for step in steps_behind(logits):
            if _adds(step) and step not in self._seen:
                raise OptionError(
                    "FullGrad needs the bias of every layer, and this network has a layer whose inside cannot be "
                    "observed, such as a part compiled by torch.jit; load the network without it, or try "
                    "'integratedgradients'"
                )


def _adds(step: Any) -> bool:
    """Whether a step of autograd is a convolution of maps or a batch norm with a bias."""
    if step.name() == "ConvolutionBackward0":
        sizes = step._saved_bias_sym_sizes_opt  # without a bias: None or, on a CPU, (0,)
        return bool(sizes) and sizes != (0,) and step._saved_weight.ndim == 4
    return "BatchNormBackward" in step.name() and not step._saved_training


def bias_of(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the bias (K,) of a call of a convolution or batch norm; None for other calls, or without a bias."""
    if func in _CONVOLUTIONS:
        bias: Tensor | None = kwargs.get("bias", args[2] if len(args) > 2 else None)
        return bias
    if func is not F.batch_norm:
        return None
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    given = {"weight": None, "bias": None, "training": False, "eps": 1e-5} | dict(zip(names, args, strict=False))
    return _of_batch_norm(**(given | kwargs))


def _of_batch_norm(
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    eps: float,
    **_: object,
) -> Tensor | None:
    """Return beta - mean gamma / std; None if mean and std are the batch's own."""
    if training or running_mean is None or running_var is None:
        return None
    scale = (running_var + eps).rsqrt()
    if weight is not None:
        scale = scale * weight
    return (0 if bias is None else bias) - running_mean * scale
