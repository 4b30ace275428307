"""What a network is made of and costs: numbers to check on paper, and torch's own counter on real networks."""

import warnings

import pytest
import torch
import torchvision
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import camserve
from camserve import nets
from camserve.graph.original.given import Given
from camserve.graph.receptive.walk import Fields, receptive_fields
from camserve.graph.trace import trace
from camserve.models.inspection.blocks import Block, blocks_of, from_to
from camserve.models.inspection.hooked_layers import record
from camserve.models.inspection.layer_costs import InspectedLayer, inspect_layers
from camserve.models.inspection.separable import Separable, find_separable
from camserve.models.inspection.words import sentences

TEN = (
    "alexnet", "vgg16", "resnet50", "densenet121", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small",
    "efficientnet_b0", "shufflenet_v2_x1_0", "convnext_tiny",
)  # fmt: skip
LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
TRANSFORMERS = ("swin_t", "swin_v2_t", "vit_b_16", "maxvit_t")


class Small(nn.Module):
    """For 8 x 8 pixels: every number can be counted by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False)
        self.pointwise = nn.Conv2d(4, 6, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x)))
        return self.classifier(self.pool(self.pointwise(self.depthwise(x))).flatten(1))


def seen(module: nn.Module, size: int) -> tuple[fx.GraphModule, Fields]:
    graph = trace(module.eval())
    return graph, receptive_fields(graph, (size, size))


def layers(module: nn.Module, size: int = 8) -> dict[str, InspectedLayer]:
    return {layer.name: layer for layer in inspect_layers(*seen(module, size))}


def macs(module: nn.Module, size: int = 8) -> int:
    return sum(layer.macs or 0 for layer in inspect_layers(*seen(module, size)))


def network(name: str, device: str) -> nn.Module:
    """Without weights that mean anything; on the meta device nothing is computed at all."""
    with torch.device(device), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        made: nn.Module = getattr(nets, name)() if name in LITES else getattr(torchvision.models, name)()
    return made.eval()


def test_a_small_network_by_hand() -> None:
    rows = [(layer.name, layer.kind, layer.output, layer.parameters, layer.macs) for layer in layers(Small()).values()]
    assert rows == [
        ("conv", "3x3 convolution /2", (4, 4, 4), 3 * 3 * 3 * 4 + 4, 4 * 4 * 4 * 3 * 3 * 3),
        ("norm", "batch norm", (4, 4, 4), 8, 0),
        ("relu", "ReLU", (4, 4, 4), 0, 0),
        ("depthwise", "depthwise 3x3", (4, 4, 4), 36, 4 * 4 * 4 * 9),
        ("pointwise", "1x1 convolution", (6, 4, 4), 24, 4 * 4 * 6 * 4),
        ("pool", "global average pool", (6, 1, 1), 0, 0),
        ("flatten", "flatten", (6,), 0, 0),
        ("classifier", "linear", (5,), 35, 30),
    ]


def test_receptive_fields_by_hand() -> None:
    rows = layers(Small())
    found = {name: row.field and (row.field.size, row.field.stride, row.field.start) for name, row in rows.items()}
    assert found["conv"] == ((3, 3), (2, 2), (0, 0))
    assert found["pointwise"] == ((7, 7), (2, 2), (0, 0))
    assert rows["pool"].field is not None
    assert rows["pool"].field.global_context
    assert found["classifier"] is None
    assert not rows["classifier"].field_is_unknown


@pytest.mark.parametrize("name", [*TEN, *LITES, *TRANSFORMERS])
def test_macs_and_parameters_equal_torch_s_own_counter(name: str) -> None:
    net = network(name, "meta")
    found = inspect_layers(*seen(net, 224))
    # attention written out, where torch's counter sees it: its fast paths count nothing
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        counter = FlopCounterMode(display=False)
        with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
            net(torch.zeros(1, 3, 224, 224, device="meta"))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert 2 * sum(layer.macs for layer in found) == counter.get_total_flops()  # type: ignore[misc]
    assert sum(layer.parameters for layer in found) == sum(p.numel() for p in net.parameters())


def test_other_ways_to_multiply_equal_torch_s_counter() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(3, 8, 2, stride=2, groups=1)
            self.grouped = nn.Conv2d(8, 8, (1, 3), groups=2)
            self.weight = nn.Parameter(torch.zeros(6, 8, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            x = F.conv2d(self.grouped(self.up(x)), self.weight, stride=2).flatten(2)
            product = torch.einsum("nkp,nlp->nkl", x, x) @ x
            return F.scaled_dot_product_attention(product, x, x).sum(2)

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), counter:
        Odd()(torch.zeros(1, 3, 8, 8))
    assert 2 * macs(Odd()) == counter.get_total_flops()
    assert layers(Odd())["weight"].parameters == 6 * 8 * 9
    assert layers(Odd())["grouped"].kind == "1x3 convolution in 2 groups"


def test_shared_weights_count_once_and_cost_each_time() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x)).mean((2, 3))

    found = inspect_layers(*seen(Twice(), 8))
    assert [layer.parameters for layer in found] == [9, 0, 0]
    assert [layer.macs for layer in found] == [576, 576, 0]


def test_what_costs_an_unknown_amount_is_said() -> None:
    class Fourier(Small):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(torch.fft.fft2(x).real.to(torch.float32))

    inspection = camserve.load(Fourier(), size=8).inspect()
    assert inspection.not_counted == ("fft fft2",)
    assert "Not counted: fft fft2." in sentences(inspection)["cost"]
    assert inspection.layers[0].macs is None
    assert any(layer.field_is_unknown for layer in inspection.layers)


def test_what_a_network_computes_itself_is_no_stumbling_block() -> None:
    class Computed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 1, 3, 3))

        def forward(self, x: Tensor) -> Tensor:
            x = F.conv2d(x, self.weight, groups=x.shape[1])
            return F.avg_pool2d(x, x.size()[2:]).flatten(1)

    found = layers(Computed())
    assert [layer.kind for layer in found.values()] == ["parameter", "conv2d", "global average pool", "flatten"]
    assert found["conv2d"].macs == 3 * 6 * 6 * 9


def test_a_layer_that_gives_several_tensors_is_not_forgotten() -> None:
    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(3, 1, batch_first=True)
            self.recurrent = nn.LSTM(3, 4, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(2).transpose(1, 2)
            return self.recurrent(self.attention(x, x, x)[0])[0].mean(1)

    found = layers(Sequence())
    assert (found["attention"].output, found["attention"].macs) == ((64, 3), 4 * 64 * 3 * 3 + 2 * 64 * 64 * 3)
    assert (found["recurrent"].kind, found["recurrent"].macs) == ("LSTM", None)


def test_what_depthwise_separable_convolutions_save_by_hand() -> None:
    (pair,) = find_separable(*seen(Small(), 8))
    assert pair == Separable("depthwise", "pointwise", (3, 3), 4, 6, macs=576 + 384, standard_macs=16 * 9 * 4 * 6)
    assert pair.ratio == pytest.approx(1 / 6 + 1 / 9)
    inspection = camserve.load(Small(), size=8).inspect()
    assert inspection.macs == 1728 + 576 + 384 + 30
    assert inspection.standard_macs == 1728 + 3456 + 30


@pytest.mark.parametrize(
    ("name", "pairs", "first"),
    [
        ("efficientnet_lite0", 16, ("blocks.0.depthwise.conv", "blocks.0.project.conv")),
        ("mobilenet_v3_small", 11, ("features.1.block.0.0", "features.1.block.2.0")),  # squeeze-excitation between
        ("convnext_tiny", 18, ("features.1.0.block.0", "features.1.0.block.3")),  # a linear layer mixes channels
        ("resnet50", 0, None),
    ],
)
def test_depthwise_separable_convolutions_are_found(name: str, pairs: int, first: tuple[str, str] | None) -> None:
    found = find_separable(*seen(network(name, "meta"), 224))
    assert len(found) == pairs
    assert first is None or (found[0].depthwise, found[0].pointwise) == first
    for pair in found:
        assert pair.ratio == pytest.approx(1 / pair.outputs + 1 / (pair.kernel[0] * pair.kernel[1]))


def rows(name: str) -> dict[str, Block]:
    return {block.name: block for block in blocks_of(inspect_layers(*seen(network(name, "meta"), 224)))}


def test_a_large_network_fits_into_a_few_rows() -> None:
    found = rows("resnet152")
    assert len(found) == 12
    assert found["conv1 … relu"].kind == "7x7 convolution /2, batch norm, ReLU"
    assert found["layer3.0"].kind == "1x1, 3x3 /2, 1x1, 1x1 /2, add"
    repeated = found["layer3.1 … 35"]
    assert (repeated.kind, repeated.times, repeated.last.output) == ("1x1, 3x3, 1x1, add", 35, (1024, 14, 14))
    assert repeated.last.field is not None
    assert (repeated.parameters, repeated.macs) == (35 * 1117184, 35 * 218365952)


def test_blocks_are_named_by_what_they_do() -> None:
    assert rows("mobilenet_v3_small")["features.1"].kind == "depthwise 3x3 /2, squeeze-excite, 1x1"
    assert rows("densenet121")["features.denseblock1"].kind == "7 × concatenate, 6 × 1x1, 6 × 3x3"
    assert rows("vit_b_16")["encoder.layers.encoder_layer_0 … 11"].times == 12
    assert from_to("a.b_1", "a.b_12") == "a.b_1 … 12"
    assert from_to("stem", "relu") == "stem … relu"
    assert from_to("stem", "stem") == "stem"


def test_a_network_that_cannot_be_traced_still_shows_its_layers() -> None:
    class Untraceable(Small):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x * self.scale if float(x.sum()) < 1e9 else -x)

    graph, fields = record(Given(Untraceable().eval(), 8))
    found = {layer.name: layer for layer in inspect_layers(graph, fields)}
    by_trace = layers(Small())
    assert found.pop("scale").parameters == 1
    assert list(found) == ["conv", "norm", "depthwise", "pointwise", "pool", "classifier"]
    for name, layer in found.items():
        assert (layer.kind, layer.output, layer.macs) == (
            by_trace[name].kind,
            by_trace[name].output,
            by_trace[name].macs,
        )
        assert layer.field is None
    assert found["conv"].field_is_unknown
    assert len(find_separable(graph, fields)) == 1
    inspection = camserve.load(Untraceable(), size=8).inspect()
    assert inspection.macs == 1728 + 576 + 384 + 30
    assert "Not counted: functions between the layers" in sentences(inspection)["cost"]
    assert inspection.sizes.any_size


def test_inspecting_leaves_the_model_as_it_was(model: camserve.Model) -> None:
    before = model.weights_sha256, model.layer()
    inspection = model.inspect()
    assert (model.weights_sha256, model.layer()) == before
    assert (inspection.macs, inspection.parameters) == (385_187_552, 4_652_008)
    assert inspection.standard_macs == 3_023_631_360
    assert (inspection.head.kind, inspection.head.layer, inspection.head.maps) == ("linear", "head", (1280, 7, 7))
