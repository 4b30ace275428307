"""Body and head together are the model; nothing leaks between them."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from camserve.catalogue.targets import class_target
from camserve.errors import ModelError, UnknownName
from camserve.graph.cut import find_layer, layer_names, shortest_name, split
from camserve.graph.head_recognition import head_of
from camserve.graph.heads import Head, autograd_gradients
from camserve.graph.trace import trace
from camserve.models.engines.torch_engine import TorchEngine, fold_batch_norm, prepared


class Residual(nn.Module):
    """Cut inside its block, the head needs the other branch too; the ReLU after the layer works in place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        y = self.norm(self.inner(x))
        y = F.relu(y, inplace=True)
        y += x
        return self.fc(F.adaptive_avg_pool2d(y, 1).flatten(1))


def seeded(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if "running_var" in name:
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.3, generator=generator)
    return module.eval()


def image(height: int = 30, width: int = 21) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["stem", "inner", "norm", "add"])
def test_body_and_head_are_the_model(layer: str) -> None:
    model = seeded(Residual())
    body, head = split(trace(model), layer)
    with torch.no_grad():
        activations, carried = body(image())
        torch.testing.assert_close(head(activations, *carried), model(image()))


def test_the_head_needs_the_other_branch_of_a_residual_block() -> None:
    body, _ = split(trace(seeded(Residual())), "norm")
    _, carried = body(image())
    assert len(carried) == 1


def test_an_in_place_operation_after_the_layer_leaves_the_activations_alone() -> None:
    body, head = split(trace(seeded(Residual())), "norm")
    with torch.no_grad():
        activations, carried = body(image())
        before = activations.clone()
        head(activations, *carried)
    assert (before < 0).any()
    assert torch.equal(activations, before)


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "mobilenet_v2"])
def test_gradients_through_the_head_equal_those_of_the_whole_model(name: str) -> None:
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    layer = {"resnet18": "layer4", "squeezenet1_1": "features"}.get(name, "features")
    body, head = split(trace(model), layer)
    x = torch.randn(1, 3, 70, 97)
    with torch.no_grad():
        activations, carried = body(x)
    ours = autograd_gradients(head, activations, class_target(7), carried)

    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.requires_grad_())
        return output.clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    (theirs,) = torch.autograd.grad(model(x)[0, 7], kept)
    handle.remove()
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)


def test_linear_heads_are_recognised_and_others_are_not() -> None:
    kinds = {}
    for name, layer in (("resnet18", "layer4"), ("mobilenet_v2", "features"), ("squeezenet1_1", "features"),
                        ("resnet18", "layer3"), ("mobilenet_v3_small", "features")):  # fmt: skip
        model = torchvision.models.get_model(name, weights=None).eval()
        kinds[name, layer] = head_of(split(trace(model), layer)[1]).kind
    assert kinds == {
        ("resnet18", "layer4"): "linear",
        ("mobilenet_v2", "features"): "linear",
        ("squeezenet1_1", "features"): "general",
        ("resnet18", "layer3"): "general",
        ("mobilenet_v3_small", "features"): "pooled",
    }


def test_a_head_that_only_looks_linear_is_not_taken_for_one() -> None:
    class Rectified(nn.Sequential):
        """ReLU between pooling and the linear layer: not linear in the feature maps."""

    model = Rectified(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    assert head_of(split(trace(model.eval()), "0")[1]).kind == "pooled"
    doubled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))
    assert head_of(split(trace(doubled.eval()), "0")[1]).kind == "general"
    unpooled = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert head_of(split(trace(unpooled.eval()), "0")[1]).kind == "general"


def test_folding_batch_norm_changes_neither_the_answer_nor_the_model() -> None:
    model = seeded(Residual())
    body, _ = split(trace(model), "norm")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold_batch_norm(body)
    with torch.no_grad():
        torch.testing.assert_close(folded(image())[0], body(image())[0])
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in body.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_convolution_that_feeds_something_else_too_is_not_folded() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.last = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return self.last(x + self.norm(x)).mean((2, 3))

    model = seeded(Twice())
    body, _ = split(trace(model), "last")
    with torch.no_grad():
        torch.testing.assert_close(fold_batch_norm(body)(image())[0], body(image())[0])


def test_the_engine_gives_ordinary_tensors_that_autograd_takes() -> None:
    body, head = split(trace(seeded(Residual())), "norm")
    activations, carried = TorchEngine(prepared(body), Head(head)).activations(image())
    assert not activations.is_inference()
    assert not any(value.is_inference() for value in carried)


def test_layers_are_known_by_module_path_and_functions_by_node() -> None:
    graph = trace(torchvision.models.resnet18(weights=None).eval())
    names = layer_names(graph)
    assert names["layer4"] is names["layer4.1"] is names["layer4.1.relu"]
    assert shortest_name(graph, names["layer4.1.relu"]) == "layer4"


def test_an_unknown_layer_names_close_ones() -> None:
    graph = trace(seeded(Residual()))
    with pytest.raises(UnknownName, match="unknown layer 'inne'; did you mean 'inner'"):
        find_layer(graph, "inne")


def test_a_model_whose_control_flow_needs_data_is_a_clear_error() -> None:
    class Depends(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ModelError, match=r"torch\.fx cannot trace Depends"):
        trace(Depends())
