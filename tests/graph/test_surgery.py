"""Rebuilt networks give the original's numbers: where they promise the same bits, and where float precision."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torchvision import models

from camserve.errors import ModelError, OptionError, UnknownName
from camserve.graph.cut import find_layer, split
from camserve.graph.head_recognition import head_of
from camserve.graph.heads import Head
from camserve.graph.receptive.walk import receptive_fields
from camserve.graph.surgery.dilation import dilate
from camserve.graph.surgery.linear import convolve_linear
from camserve.graph.trace import trace
from camserve.models.engines.torch_engine import TorchEngine, prepared
from camserve.nets.efficientnet_lite import SameConv2d, efficientnet_lite0


class Net(nn.Module):
    """A forward pass in one line, with layers."""

    def __init__(self, run: Callable[..., Tensor | tuple[Tensor, Tensor]], *layers: nn.Module) -> None:
        super().__init__()
        self.run, self.layers = run, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        return self.run(x, *self.layers)


def seeded(net: nn.Module) -> nn.Module:
    """Weights of He's scale and statistics that differ, so that no branch dies out and no norm is the identity."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if "running_var" in name:
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.ndim > 1:
                tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
            elif (tensor.is_floating_point() and "running_mean" in name) or "bias" in name:
                tensor.normal_(0, 0.1, generator=generator)
    return net.eval()


def graph_of(net: nn.Module) -> fx.GraphModule:
    return trace(seeded(net)).eval()


def image(width: int, height: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(2, 3, height, width, dtype=dtype, generator=torch.Generator().manual_seed(1))


def run(graph: nn.Module, x: Tensor) -> Any:
    with torch.no_grad():
        return graph(x)


def at(graph: fx.GraphModule, layer: str, x: Tensor) -> Tensor:
    """What the graph computes at a layer."""
    activations: Tensor = run(split(graph, layer)[0], x)[0]
    return activations


def snapshot(graph: fx.GraphModule) -> tuple[Any, ...]:
    """All that an operation on a graph could change by mistake."""
    state = {name: (value.data_ptr(), value.clone()) for name, value in graph.state_dict().items()}
    modules = {name: (id(module), str(module), module.training) for name, module in graph.named_modules()}
    return str(graph.graph), modules, {name: pointer for name, (pointer, _) in state.items()}, state


def unchanged(graph: fx.GraphModule, before: tuple[Any, ...]) -> bool:
    values = all(torch.equal(value, before[3][name][1]) for name, value in graph.state_dict().items())
    return values and snapshot(graph)[:3] == before[:3]


# --- fully connected layers as convolutions


def test_a_sliding_classifier_on_paper() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.arange(12.0)[None])  # channel 0: 0 1 / 2 3, channel 1: 4 5 / 6 7 ...
        net[1].bias.fill_(0.5)
    made = convolve_linear(trace(net), (2, 2))
    x = torch.zeros(1, 3, 2, 4)
    x[0, 1, 0, 1] = 1  # in cell 0 it is the window's right column (weight 5), in cell 1 the left one (weight 4)
    assert run(made, x).tolist() == [[[[5.5, 4.5, 0.5]]]]


def convolution() -> nn.Module:
    return nn.Conv2d(3, 4, 3, stride=2)  # 13 x 9 -> 6 x 4 -> pooled 3 x 2: 24 values


def linear() -> nn.Module:
    return nn.Linear(24, 5)


def last() -> nn.Module:
    return nn.Linear(5, 3)


FLATTENED: dict[str, nn.Module] = {
    "view by size": Net(
        lambda x, c, a, b: F.log_softmax(
            b(F.relu(a(F.max_pool2d(c(x), 2).view(x.size(0), -1)), inplace=True)), dim=-1
        ),
        convolution(), linear(), last(),
    ),
    "view by number": Net(
        lambda x, c, a, b: torch.softmax(b(F.dropout(a(F.max_pool2d(c(x), 2).view(-1, 24)), training=False)), -1),
        convolution(), linear(), last(),
    ),
    "torch.flatten": Net(lambda x, c, a, b: b(a(torch.flatten(F.avg_pool2d(c(x), 2), 1)).sigmoid()) / 2.5,
        convolution(), linear(), last(),
    ),
    "reshape by shape": Net(
        lambda x, c, a, n, b: b(n(a(F.relu(F.max_pool2d(c(x), 2)).reshape(x.shape[0], -1)))).log_softmax(-1),
        convolution(), linear(), nn.BatchNorm1d(5), last(),
    ),
    "modules": nn.Sequential(
        convolution(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d((2, 3)), nn.Dropout(), nn.Flatten(), nn.Dropout(),
        linear(), nn.BatchNorm1d(5, affine=False), nn.PReLU(5), last(), nn.LogSoftmax(dim=-1),
    ),
    "the same layer twice": Net(
        lambda x, c, a, b: b(b(a(F.max_pool2d(c(x), 2).flatten(1)))), convolution(), linear(), nn.Linear(5, 5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FLATTENED)
def test_every_cell_is_the_classifier_on_its_crop(name: str) -> None:
    graph = graph_of(FLATTENED[name])
    before = snapshot(graph)
    made = convolve_linear(graph, (13, 9))
    assert unchanged(graph, before)
    scores, logits = run(made, image(13, 9))[:, :, 0, 0], run(graph, image(13, 9))
    assert torch.equal(scores, logits) or ("softmax" in str(graph.graph) and torch.allclose(scores, logits))
    x = image(13 + 3 * 4 + 1, 9 + 2 * 4)  # 4: the stride; one column is left over
    scores = run(made, x)
    assert scores.shape[-2:] == (3, 4)
    for v in range(3):
        for u in range(4):
            crop = x[:, :, 4 * v : 4 * v + 9, 4 * u : 4 * u + 13]
            torch.testing.assert_close(scores[:, :, v, u], run(graph, crop), rtol=0, atol=1e-5)


@pytest.fixture(scope="module", params=["alexnet", "vgg11"])
def classic(request: pytest.FixtureRequest) -> Iterator[tuple[str, fx.GraphModule, fx.GraphModule]]:
    """A network with fully connected layers and the same as convolutions."""
    graph = graph_of(getattr(models, request.param)(weights=None))
    yield request.param, graph, convolve_linear(graph, (224, 224))


def test_native_size_is_bit_for_bit(classic: tuple[str, fx.GraphModule, fx.GraphModule]) -> None:
    _, graph, made = classic
    x = image(224, 224)
    scores = run(made, x)
    assert scores.shape == (2, 1000, 1, 1)
    assert torch.equal(scores[:, :, 0, 0], run(graph, x))
    pointers = {parameter.data_ptr() for parameter in graph.parameters()}
    assert {parameter.data_ptr() for parameter in made.parameters()} == pointers


def test_zero_padding_sets_cells_apart(classic: tuple[str, fx.GraphModule, fx.GraphModule]) -> None:
    _, graph, made = classic
    x = image(320, 288)[:1]
    scores = run(made, x)
    assert scores.shape == (1, 1000, 3, 4)
    crop = run(graph, x[:, :, 32:256, 32:256])
    deviation = (scores[:, :, 1, 1] - crop).square().mean().sqrt() / crop.std()
    assert deviation == pytest.approx(0.26, abs=0.02)


def test_an_input_below_the_classifier_s_window_is_a_clear_error() -> None:
    made = convolve_linear(graph_of(FLATTENED["modules"]), (13, 9))
    with pytest.raises(OptionError, match="has 2 x 2 cells, fewer than the 3 x 2 that the classifier takes"):
        run(made, image(9, 9))


REFUSED: list[tuple[str, nn.Module, str]] = [
    ("global pool", nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
     "'1' (AdaptiveAvgPool2d) pools over the whole map, so there is no window that could slide"),
    ("mean", Net(lambda x, c, a: a(c(x).mean((2, 3))), nn.Conv2d(3, 4, 3), nn.Linear(4, 2)), "'mean' (mean) pools"),
    ("pool that changes", nn.Sequential(nn.AdaptiveAvgPool2d((3, 4)), nn.Flatten(), nn.Linear(36, 2)),
     "at 13 x 9 pixels '0' (AdaptiveAvgPool2d) pools 13 x 9 cells to 4 x 3; give the size that the classifier"),
    ("pool further up",
     nn.Sequential(nn.AdaptiveAvgPool2d((3, 13)), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(44, 2)),
     "its last feature map does not grow with the input"),
    ("layer norm", nn.Sequential(nn.Flatten(), nn.LayerNorm(351), nn.Linear(351, 2)),
     "'1' (LayerNorm): it normalises over all features of the vector at once. Allowed are flatten"),
    ("batch norm of positions", nn.Sequential(nn.Flatten(), nn.BatchNorm1d(351), nn.Linear(351, 2)),
     "'1' (BatchNorm1d) treats each position of the flattened map differently"),
    ("features joined", Net(lambda x, a: a(torch.cat([x.flatten(1), x.mean((2, 3))], 1)), nn.Linear(354, 2)),
     "'cat' (cat) takes 'flatten' (flatten) and 'mean' (mean), so its input is not the feature map alone"),
    ("residual", Net(lambda x, a, b: F.relu(z := a(x.flatten(1))) + z, nn.Linear(351, 2), nn.Identity()),
     "so its input is not the feature map alone"),
    ("part of the map", Net(lambda x, a: a(x.flatten(1)[:, 3:]), nn.Linear(348, 2)),
     "takes (N, 348), not the map of 3 x 9 x 13 as one vector of 351"),
    ("each row", Net(lambda x, a: a(x.flatten(2)).flatten(1), nn.Linear(117, 2)), "takes (N, 3, 117), not the map"),
    ("channels last", Net(lambda x, a: a(x.permute(0, 2, 3, 1).flatten(1)), nn.Linear(351, 2)),
     "'permute' (permute) is not a map (N, K, h, w)"),
    ("reshaped on", Net(lambda x, a, b: b(a(x.flatten(1)).view(-1, 2, 4)).flatten(1), nn.Linear(351, 8),
                        nn.Linear(4, 2)), "'view' (view) reshapes the vector of features to (N, 2, 4)"),
    ("over the batch", Net(lambda x, a: a(x.flatten(1)).softmax(0), nn.Linear(351, 2)), "works along dimension 0"),
    ("scaled", Net(lambda x, a, b: a(x.flatten(1)) * b.weight[0], nn.Linear(351, 2), nn.Linear(2, 2)), "also takes"),
    ("no linear", nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten()), "there is no nn.Linear between"),
    ("two answers", Net(lambda x, a: (a(x.flatten(1)), x), nn.Linear(351, 2)), "several values"),
]  # fmt: skip


@pytest.mark.parametrize(("net", "text"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_tails_that_cannot_slide_are_refused_with_the_reason(net: nn.Module, text: str) -> None:
    with pytest.raises(ModelError) as error:
        convolve_linear(graph_of(net), (13, 9))
    assert text in str(error.value)


# --- stride to dilation


def test_a_dense_map_on_paper() -> None:
    net = nn.Sequential(nn.Conv2d(3, 1, 1, stride=2, bias=False), nn.Conv2d(1, 1, (1, 2), bias=False)).eval()
    with torch.no_grad():
        net[0].weight.fill_(1)
        net[1].weight.copy_(torch.tensor([[[[1.0, 10.0]]]]))
    x = torch.zeros(1, 3, 1, 6)
    x[0, 0, 0] = torch.arange(6.0)
    assert run(trace(net), x).tolist() == [[[[0 + 20.0, 2 + 40.0]]]]
    dense = dilate(trace(net), 1, (6, 1), layer="1")
    assert run(dense, x).tolist() == [[[[0 + 20.0, 1 + 30.0, 2 + 40.0, 3 + 50.0]]]]


def test_between_the_lattice_lies_the_network_on_the_shifted_image() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Conv2d(4, 4, 3, groups=2), nn.MaxPool2d(2)
    )
    graph = graph_of(net.double())
    x = image(61, 58, torch.float64)
    dense = run(dilate(graph, 2, (61, 58), layer="4"), x)
    for down in range(4):
        for across in range(4):
            shifted = run(graph, x[:, :, 2 * down :, 2 * across :])
            torch.testing.assert_close(dense[:, :, down::4, across::4], shifted, rtol=0, atol=1e-13)


LITE = "efficientnet_lite0"
NETWORKS = [
    ("resnet18", "layer4", 8, (97, 131)), ("resnet18", "layer3", 4, (75, 64)), ("resnet50", "layer4", 8, (65, 49)),
    ("mobilenet_v2", "features", 8, (97, 131)),
    ("densenet121", "relu", 8, (97, 131)), ("vgg11_bn", "features", 8, (75, 65)), ("alexnet", "features", 8, (131, 99)),
    ("efficientnet_b0", "features", 8, (97, 131)), ("regnet_x_400mf", "trunk_output", 8, (97, 131)),
    ("regnet_y_400mf", "trunk_output", 16, (75, 97)), ("mnasnet0_5", "layers", 8, (97, 131)),
    ("shufflenet_v2_x0_5", "conv5", 8, (97, 131)), ("googlenet", "inception5b", 8, (97, 131)),
    ("googlenet", "inception5b", 16, (160, 75)), ("inception_v3", "Mixed_7c", 8, (137, 111)),
    ("squeezenet1_1", "features", 4, (97, 131)), ("mobilenet_v3_small", "features", 8, (97, 131)),
    ("convnext_tiny", "features", 16, (75, 64)), (LITE, "head", 8, (97, 131)), (LITE, "head", 16, (160, 75)),
    (LITE, "head", 4, (65, 50)),
]  # fmt: skip


def network(name: str) -> nn.Module:
    if name == LITE:
        return efficientnet_lite0(classes=5)
    options: dict[str, Any] = {"num_classes": 5, "weights": None}
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": False, "aux_logits": False}
    net: nn.Module = models.get_model(name, **options)
    if name in ("alexnet", "vgg11_bn"):
        net.classifier = nn.Sequential(nn.Flatten())  # millions of weights that this test has no use for
    return net


@pytest.mark.parametrize(("name", "layer", "output_stride", "size"), NETWORKS)
def test_dense_maps_hold_the_original_lattice(name: str, layer: str, output_stride: int, size: tuple[int, int]) -> None:
    graph = graph_of(network(name).double())
    before = snapshot(graph)
    dense = dilate(graph, output_stride, size, layer=layer)
    assert unchanged(graph, before)
    x = image(*size, torch.float64)[:1]
    original, fine = at(graph, layer, x), at(dense, layer, x)
    fields = receptive_fields(graph, size)[find_layer(graph, layer).name]
    s = fields.stride[0] // output_stride
    lattice = fine[:, :, ::s, ::s]
    assert lattice.shape == original.shape and fine.shape[-1] > original.shape[-1] and original.std() > 1e-3
    assert ((lattice - original).abs().max() / original.abs().max()).item() < 2e-14
    of_dense = receptive_fields(dense, size)[find_layer(dense, layer).name]
    assert (of_dense.stride, of_dense.start) == ((output_stride,) * 2, fields.start)


def test_a_graph_made_at_one_size_is_right_at_others() -> None:
    for name, layer in (("googlenet", "inception5b"), (LITE, "head")):
        graph = graph_of(network(name).double())
        dense = dilate(graph, 16, (97, 97), layer=layer)
        for size in ((64, 64), (33, 117)):
            x = image(*size, torch.float64)
            torch.testing.assert_close(at(dense, layer, x)[:, :, ::2, ::2], at(graph, layer, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("output_stride", [1, 2, 4, 8, 16])
def test_every_divisor_of_the_stride_is_possible(output_stride: int) -> None:
    graph = graph_of(network("alexnet"))  # its first stride is 4: at 2 one half of it stays
    dense = dilate(graph, output_stride, (67, 75), layer="features")
    x, s = image(67, 75), 32 // output_stride
    torch.testing.assert_close(at(dense, "features", x)[:, :, ::s, ::s], at(graph, "features", x))


def test_the_layer_s_own_stride_changes_nothing() -> None:
    graph = graph_of(network("resnet18"))
    assert torch.equal(run(dilate(graph, 32, (64, 64), layer="layer4"), image(64, 64)), run(graph, image(64, 64)))


def shuffled(x: Tensor) -> Tensor:
    number, channels, height, width = x.size(0), x.size(1), x.size(2), x.size(3)
    x = x.view(number, 2, channels // 2, height, width).transpose(1, 2).contiguous()
    return torch.cat(x.view(number, channels, height, width)[:, 1:].chunk(3, dim=1)[1:], 1)


WINDOWS: dict[str, nn.Module] = {
    "max, ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "max, ceil, padded, dilated": nn.MaxPool2d(3, 2, 1, dilation=2, ceil_mode=True),
    "max, even and padded": nn.MaxPool2d(2, 2, 1),
    "max, function": Net(lambda x: F.max_pool2d(x, 3, padding=1)),
    "average": nn.AvgPool2d(3, 2, 1),
    "average, counting": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "average, ceil": nn.AvgPool2d(2, ceil_mode=True),
    "average, ceil, padded": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "average, ceil, padded, counting": nn.AvgPool2d((3, 2), (2, 3), 1, ceil_mode=True, count_include_pad=False),
    "average, divisor": nn.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=5),
    "average, function": Net(lambda x: F.avg_pool2d(x, (2, 3), stride=2, padding=(0, 1), count_include_pad=False)),
    "convolution, function": Net(
        lambda x, c: F.conv2d(x, c.weight, None, 2, padding=1, groups=2), nn.Conv2d(4, 4, 3, groups=2)
    ),
    "convolution, weights computed": Net(
        lambda x, c: F.conv2d(x, c.weight - c.weight.mean(), stride=2), nn.Conv2d(4, 4, 3)
    ),
    "convolution, partly": nn.Conv2d(4, 4, (3, 1), (3, 2), (2, 0), dilation=(1, 2)),
    "same": nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, (4, 3), padding="same")),
    "valid": nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding="valid")),
    "same as TensorFlow": SameConv2d(4, 4, 5, stride=2),
    "padded before": nn.Sequential(nn.MaxPool2d(2), nn.ZeroPad2d((1, 2, 0, 3)), nn.Conv2d(4, 4, 3)),
    "padded by a function": Net(
        lambda x, p, c: c(F.pad(p(x), (2, -1, 1, 0), value=0.5)), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3)
    ),
    "channels shuffled": Net(lambda x, p: shuffled(p(x)), nn.MaxPool2d(2)),
    "a gain for each channel": Net(lambda x, p: p(x) * p(x).mean((2, 3), keepdim=True).sigmoid(), nn.MaxPool2d(2)),
    "one pooling used twice": Net(lambda x, p: p(p(x)), nn.MaxPool2d(2, padding=1)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch copies for an even kernel
@pytest.mark.parametrize("name", WINDOWS)
def test_every_kind_of_window_meets_what_it_met(name: str) -> None:
    graph = graph_of(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), WINDOWS[name], nn.Identity()).double())
    for size in [(18, 23), (19, 22), (20, 21), (21, 20), (22, 19), (23, 18)]:
        x = image(*size, torch.float64)
        field = receptive_fields(graph, size)["_2"]
        for output_stride in (1, 2):
            if any(stride % output_stride for stride in field.stride):
                continue
            across, down = (stride // output_stride for stride in field.stride)
            dense = dilate(graph, output_stride, size, layer="2")
            torch.testing.assert_close(run(dense, x)[:, :, ::down, ::across], run(graph, x), rtol=0, atol=1e-13)
            assert receptive_fields(dense, size)["_2"].stride == (output_stride, output_stride)


def test_squeeze_excitation_takes_the_original_lattice() -> None:
    graph = graph_of(WINDOWS["a gain for each channel"])
    made = dilate(graph, 1, (9, 7), layer="mul")
    assert str(made.graph).count("slice(None, None, 2)") == 2
    x = image(9, 7)
    pooled = F.max_pool2d(x, 2, stride=1)
    torch.testing.assert_close(run(made, x), pooled * pooled[:, :, ::2, ::2].mean((2, 3), keepdim=True).sigmoid())


def test_what_follows_the_layer_is_dilated_too_and_pools_the_dense_map() -> None:
    graph = graph_of(network("resnet18"))
    dense = dilate(graph, 8, (65, 65), layer="layer3")
    x = image(65, 65)
    torch.testing.assert_close(at(dense, "layer4", x)[:, :, ::4, ::4], at(graph, "layer4", x), rtol=1e-4, atol=1e-4)
    head = head_of(split(dense, "layer4")[1])
    assert head.kind == "linear"
    fine = at(dense, "layer4", x)
    torch.testing.assert_close(run(dense, x), graph.fc(fine.mean((2, 3))).detach(), rtol=1e-4, atol=1e-4)


def test_a_head_that_pools_a_fixed_window_pools_the_dense_map() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.MaxPool2d(2), nn.AvgPool2d((2, 3)), nn.Flatten(), nn.Linear(4, 2))
    graph = graph_of(net)
    dense = dilate(graph, 1, (12, 8), layer="1")
    expected = graph.get_submodule("4")(at(dense, "1", image(12, 8)).mean((2, 3))).detach()
    torch.testing.assert_close(run(dense, image(12, 8)), expected)


def test_a_sliding_classifier_can_be_made_dense() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    scores = convolve_linear(graph_of(net.double()), (12, 8))
    dense = dilate(scores, 1, (12, 8), layer="6")
    x = image(21, 18, torch.float64)
    torch.testing.assert_close(run(dense, x)[:, :, ::4, ::4], run(scores, x), rtol=0, atol=1e-13)
    assert {p.data_ptr() for p in dense.parameters()} == {p.data_ptr() for p in net.parameters()}


def test_the_engine_runs_a_dense_graph() -> None:
    graph = graph_of(network(LITE))
    dense = dilate(graph, 8, (65, 50), layer="head")
    fine, _ = TorchEngine(prepared(split(dense, "head")[0]), Head(nn.Identity())).activations(image(65, 50))
    torch.testing.assert_close(fine, at(dense, "head", image(65, 50)), rtol=1e-3, atol=1e-3)


def test_dense_graphs_share_every_parameter_and_add_only_the_means_of_average_pools() -> None:
    graph = graph_of(network("densenet121"))
    dense = dilate(graph, 8, (64, 64), layer="relu")
    pointers = {value.data_ptr() for value in graph.state_dict().values()}
    added = [name for name, value in dense.state_dict().items() if value.data_ptr() not in pointers]
    assert added == ["features.transition2.pool.weight", "features.transition3.pool.weight"]
    assert not any(module.training for module in dense.modules())
    assert not dense.get_parameter(added[0]).requires_grad


class Own(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input * 2)


def after_pool(run: Callable[..., Tensor] | nn.Module, *layers: nn.Module) -> nn.Module:
    """A network whose last layer meets a dense map."""
    rest = run if isinstance(run, nn.Module) else Net(run, *layers)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), rest, nn.Identity())


UNDILATED: list[tuple[str, nn.Module, str]] = [
    ("statistics", after_pool(nn.GroupNorm(2, 4)), "'1' (GroupNorm) cannot be made dense: it mixes all cells"),
    ("own forward", after_pool(Own(4, 4, 3)), "Own has its own forward"),
    ("sizes written down", after_pool(lambda x: x.view(-1, 2, 2, 8, 6).flatten(1, 2)), "seems to contain a fixed size"),
    ("every other cell", after_pool(lambda x: x[:, :, ::2, ::2]), "it changes the stride"),
    ("shifted", after_pool(lambda x: x[:, :, 1:]), "it cuts or shifts the map"),
    ("tokens", after_pool(lambda x, a: a(x.flatten(2)).unflatten(2, (8, 6)), nn.Linear(48, 48)),
     "'flatten' (flatten) cannot be made dense: its result has no grid of cells"),
    ("upsampled", after_pool(nn.Upsample(scale_factor=2)), "which cells the operation Upsample takes"),
    ("window from the size", after_pool(lambda x: x - F.avg_pool2d(x, x.size()[2:])), "computes its window"),
    ("indices", after_pool(lambda x, p: p(x)[0], nn.MaxPool2d(2, return_indices=True)),
     "the indices of a pooling refer to its original input"),
    ("strides that differ", after_pool(lambda x, a: x + a(F.interpolate(x, (8, 6))), nn.Identity()), "interpolate"),
]  # fmt: skip


@pytest.mark.parametrize(("net", "text"), [case[1:] for case in UNDILATED], ids=[case[0] for case in UNDILATED])
def test_what_has_no_dense_equal_is_refused_with_the_reason(net: nn.Module, text: str) -> None:
    with pytest.raises((ModelError, OptionError)) as error:
        dilate(graph_of(net), 1, (12, 16), layer="2")
    assert text in str(error.value)


def test_wrong_options_say_what_is_possible() -> None:
    graph = graph_of(network("resnet18"))
    with pytest.raises(
        OptionError,
        match=r"12 does not divide 32, the stride of layer 'layer4.1.relu' \(ReLU\); allowed are 1, 2, 4, 8, 16, 32",
    ):
        dilate(graph, 12, (64, 64), layer="layer4")
    with pytest.raises(UnknownName, match="did you mean 'layer4'"):
        dilate(graph, 8, (64, 64), layer="layer44")
    with pytest.raises(OptionError, match="layer 'avgpool' .* cannot get more cells"):
        dilate(graph, 8, (64, 64), layer="avgpool")
    with pytest.raises(OptionError, match="layer 'fc' .* has no map to make dense"):
        dilate(graph, 8, (64, 64), layer="fc")
    with pytest.raises(OptionError, match="node of another graph"):
        dilate(graph, 8, (64, 64), layer=find_layer(trace(seeded(network("resnet18"))), "layer4"))
    with pytest.raises(ModelError, match=r"'conv1' is in training mode; call \.eval\(\)"):
        dilate(trace(network("resnet18").train()), 8, (64, 64), layer="layer4")


def test_a_node_can_be_given_for_a_layer() -> None:
    graph = graph_of(network("resnet18"))
    node = next(node for node in graph.graph.nodes if node.name == "layer4_0_relu")  # a use that has no name
    assert "surgery" not in str(dilate(graph, 32, (64, 64), layer=node).graph)
    assert receptive_fields(dilate(graph, 8, (64, 64), layer=node), (64, 64))[node.name].stride == (8, 8)
