"""However people keep their models: the explanation is the same, and the model stays exactly as it was."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import picture
from torch import nn

import camserve
from camserve import config
from camserve.errors import ConfigError, ModelError
from camserve.graph.devices import find_device
from camserve.models.snapshot import snapshot, unwrapped


def net() -> nn.Module:
    torch.manual_seed(0)
    made = torchvision.models.densenet.DenseNet(8, (2, 2), 16, num_classes=4)  # a ReLU in place outside `features`
    with torch.no_grad():
        made(torch.randn(4, 3, 64, 64))  # running statistics that are not the initial ones
    return made.eval()


def state(module: nn.Module) -> dict[str, Any]:
    return {
        "tensors": {name: tensor.clone() for name, tensor in module.state_dict().items()},
        "dtypes": {name: tensor.dtype for name, tensor in module.state_dict().items()},
        "strides": {name: tensor.stride() for name, tensor in module.state_dict().items()},
        "training": [part.training for part in module.modules()],
        "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
        "gradients": [parameter.grad for parameter in module.parameters()],
        "hooks": [len(part._forward_hooks) + len(part._backward_hooks) for part in module.modules()],
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return bool(one == other)


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


def with_a_hook(module: nn.Module) -> nn.Module:
    module.features.register_forward_hook(lambda *call: CALLS.append(len(CALLS)))
    return module


CALLS: list[int] = []


def test_a_hook_that_only_looks_runs_while_loading_alone() -> None:
    model = camserve.load(with_a_hook(net()), size=64)
    before = len(CALLS)
    assert before  # to see whether the answer needs it
    model.explain(picture())
    assert len(CALLS) == before


def with_features_left(module: nn.Module) -> nn.Module:
    module.last = module.features(torch.randn(1, 3, 64, 64))  # has a history: deepcopy refuses it
    return module


def with_weight_norm(module: nn.Module) -> nn.Module:
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(module.get_submodule("classifier"))
    return module


KEPT = {
    "as it is": lambda module: module,
    "in training": lambda module: module.train(),
    "frozen": frozen,
    "half frozen": lambda module: (frozen(module.features), module)[1],
    "channels last": lambda module: module.to(memory_format=torch.channels_last),
    "in DataParallel": nn.DataParallel,
    "twice wrapped": lambda module: nn.DataParallel(nn.DataParallel(module)),
    "with a hook": with_a_hook,
    "with features left in it": with_features_left,
    "with weight norm": with_weight_norm,
}


@pytest.fixture(scope="module")
def plain() -> camserve.Explanation:
    return camserve.load(net(), size=64).explain(picture())


@pytest.mark.parametrize("how", KEPT)
def test_the_explanation_is_the_same_and_the_model_as_it_was(how: str, plain: camserve.Explanation) -> None:
    model = KEPT[how](net())
    before = state(model)
    explanation = camserve.load(model, size=64).explain(picture())
    np.testing.assert_allclose(explanation.map, plain.map, rtol=1e-4, atol=1e-5)
    assert same(state(model), before)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
@pytest.mark.parametrize("method", ["cam", "gradcam", "layercam"])
def test_the_caller_s_grad_mode_is_not_felt(context: Any, method: str) -> None:
    alone = camserve.load(net(), size=64).explain(picture(), method=method)
    with context():
        inside = camserve.load(net(), size=64).explain(picture(), method=method)
    assert np.array_equal(inside.map, alone.map)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_in_the_copy_only(dtype: torch.dtype, plain: camserve.Explanation) -> None:
    model = net().to(dtype)
    explanation = camserve.load(model, size=64).explain(picture())
    wide = camserve.load(copy.deepcopy(model).float(), size=64).explain(picture())
    assert np.array_equal(explanation.map, wide.map)
    np.testing.assert_allclose(explanation.map, plain.map, rtol=0.1, atol=0.1)
    assert next(model.parameters()).dtype == dtype


def test_the_inside_of_a_compiled_model_is_looked_at(plain: camserve.Explanation) -> None:
    class Compiled(nn.Module):
        """Wraps as torch.compile does."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self._orig_mod = inner

    inner = net()
    assert unwrapped(nn.DataParallel(Compiled(inner))) is inner
    assert np.array_equal(camserve.load(Compiled(inner), size=64).explain(picture()).map, plain.map)


def test_what_cannot_be_copied_is_a_clear_error() -> None:
    model = net()
    model.file = (number for number in range(3))  # type: ignore[assignment] # generators cannot be copied
    with pytest.raises(
        ModelError, match="cannot copy DenseNet: .*generator.*Remove attributes that are not parameters"
    ):
        snapshot(model)


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"compute\.device = 'nowhere' cannot be used here.*Try 'cpu'"):
        find_device("nowhere")
    settings = config.load_settings(overrides={"compute": {"device": "cuda:99"}}, environ={})
    with pytest.raises(ConfigError, match=r"compute\.device = 'cuda:99'"):
        camserve.load(net(), size=64, settings=settings)
