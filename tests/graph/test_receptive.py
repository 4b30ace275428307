"""Receptive fields against the formulas on paper, known values of known networks, and actual gradients."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models import regnet

from camserve.errors import ModelError, OptionError, UnknownName
from camserve.geometry.receptive_field import Field
from camserve.graph.receptive.walk import Fields, receptive_fields
from camserve.graph.trace import trace


class SameConv2d(nn.Conv2d):
    """TensorFlow's SAME padding, computed from the actual input."""

    def same_padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        def total(n: int, axis: int) -> int:
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            return max((-(-n // self.stride[axis]) - 1) * self.stride[axis] + reach - n, 0)

        across, down = total(width, 1), total(height, 0)
        return across // 2, across - across // 2, down // 2, down - down // 2

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, self.same_padding(*input.shape[-2:])))


class Net(nn.Module):
    """A forward pass in one line, with layers."""

    def __init__(self, run: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.run, self.layers = run, nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, *self.layers)


def fields_of(net: nn.Module, size: tuple[int, int], channels: int = 1) -> Fields:
    return receptive_fields(trace(net.eval()), size, channels=channels)


def last(fields: Fields) -> Field:
    """The field of the last feature map that has more than one cell."""
    return fields[[node for node in fields if fields.grids[node] != (1, 1)][-1]]


def seen_by(net: nn.Module, size: tuple[int, int], **given: Any) -> Field:
    fields = fields_of(net, size, **given)
    return fields[list(fields)[-1]]


def conv(kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> nn.Conv2d:
    return nn.Conv2d(1, 1, kernel, stride, padding, dilation, bias=False)


# an even kernel with padding="same", which torch has to copy for
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

# --- on paper


def test_two_layers_on_paper() -> None:
    # x: k=3 s=2 p=1 -> j=2 r=3 start=0; pool k=2 s=2 -> j=4, r=3+1*2=5, start=0+(1/2-0)*2=1
    field = seen_by(nn.Sequential(conv(3, 2, 1), nn.AvgPool2d(2)), (16, 16))
    assert (field.size, field.stride, field.start) == ((5, 5), (4, 4), (1.0, 1.0))
    assert field.box(0, 0, clip=False) == (-1, -1, 4, 4)
    assert field.box(0, 0) == (0, 0, 4, 4)
    assert field.box(2, 1) == (7, 3, 12, 8)


def test_the_axes_are_independent() -> None:
    # (y, x) in torch: k = (3, 5), s = (1, 2), p = (0, 1), d = (2, 3): k~ = (5, 13)
    field = seen_by(conv((3, 5), (1, 2), (0, 1), (2, 3)), (40, 30))
    assert (field.size, field.stride, field.start) == ((13, 5), (2, 1), (5.0, 2.0))


@pytest.mark.parametrize(
    ("layer", "size", "start"),
    [
        (conv(4, 1, "same"), 4, 0.5),  # three zeros, one of them before
        (conv(4, 1, "valid"), 4, 1.5),
        (nn.MaxPool2d(3, 2, ceil_mode=True), 3, 1.0),
        (nn.MaxPool2d(3, 2, 1, dilation=2), 5, 1.0),
        (nn.ZeroPad2d((3, 0, 3, 1)), 1, -3.0),
        (nn.ZeroPad2d((-2, 0, -2, 1)), 1, 2.0),
        (nn.AdaptiveAvgPool2d((5, 4)), 3, 1.0),
        (Net(lambda x: F.max_pool2d(x, 3, 2, 1)), 3, 0.0),
        (Net(lambda x: F.avg_pool2d(x, kernel_size=2)), 2, 0.5),
        (Net(lambda x: F.pad(x, (1, 2, 1, 4))), 1, -1.0),
        (Net(lambda x, c: F.conv2d(x, c.weight, None, 2, padding=1), conv(3)), 3, 0.0),
        (Net(lambda x: x[:, :, 3:, 3::2]), 1, 3.0),
        (Net(lambda x: x.chunk(3, dim=2)[1][..., 5:]), 1, 5.0),
    ],
)
def test_every_kind_of_window(layer: nn.Module, size: int, start: float) -> None:
    field = seen_by(layer, (12, 15))
    assert (field.size, field.start) == ((size, size), (start, start))
    assert not field.global_context


@pytest.mark.parametrize(("n", "start"), [(224, 31), (240, 15), (299, 10), (320, 31)])
def test_same_padding_moves_with_the_size(n: int, start: int) -> None:
    # the depthwise kernels and strides of EfficientNet-Lite0; its 1x1 convolutions move nothing
    kernels, strides = "33335533355555553", "21212121111121111"
    layers = [SameConv2d(1, 1, int(k), int(s)) for k, s in zip(kernels, strides, strict=True)]
    field = seen_by(nn.Sequential(*layers), (n, n))
    assert (field.stride, field.start) == ((32, 32), (start, start))


def test_published_sizes() -> None:
    # slim's vgg_16 pool5: size 212, stride 32, effective padding 90; mobilenet_v1: 315, 32
    vgg = [layer for n in (2, 2, 3, 3, 3) for layer in (*(conv(3, 1, 1) for _ in range(n)), nn.MaxPool2d(2))]
    field = seen_by(nn.Sequential(*vgg), (224, 224))
    assert (field.size[0], field.stride[0], -field.box(0, 0, clip=False)[0]) == (212, 32, 90)
    mobilenet = [SameConv2d(1, 1, 3, int(s)) for s in "21212121111121"]
    field = seen_by(nn.Sequential(*mobilenet), (224, 224))
    assert (field.size[0], field.stride[0]) == (315, 32)


# --- several paths


def test_paths_that_agree_are_aligned() -> None:
    field = seen_by(Net(lambda x, a, b: a(x) + b(x), conv(3, 2, 1), conv(5, 2, 2)), (17, 12))
    assert field.aligned and field.size == (5, 5) and field.start == (0.0, 0.0)


def test_the_box_covers_paths_that_do_not_agree() -> None:
    # cell u: path a takes u-1 .. u+1, path b takes u .. u+2 (padded on the right only)
    net = Net(lambda x, a, b: torch.cat([a(x), b(F.pad(x, (0, 2, 0, 2)))], 1), conv(3, 1, 1), conv(3))
    field = seen_by(net, (9, 9))
    assert not field.aligned
    assert field.box(4, 5) == (3, 4, 7, 8)


def test_the_box_covers_paths_of_different_strides() -> None:
    # cell u = 0..3: one path takes pixels 2u, 2u+1, the other pixel u + 1
    net = Net(lambda x: F.avg_pool2d(x, 2) + x[:, :, 1:5, 1:5])
    field = seen_by(net, (8, 8))
    assert not field.aligned and field.stride == (2, 2)
    for u in range(4):
        left, _, right, _ = field.box(u, 0)
        assert left <= min(2 * u, u + 1) and right > max(2 * u + 1, u + 1)


def test_pixels_that_a_stride_leaves_over_are_in_no_box() -> None:
    # 8 pixels, k=3 s=2: three cells see 0..6, and what follows cannot see pixel 7
    assert seen_by(nn.Sequential(conv(3, 2), conv(3, 1, 1)), (8, 8)).box(2, 2) == (2, 2, 7, 7)


def test_a_cell_of_padding_alone_has_an_empty_box() -> None:
    left, _, right, _ = seen_by(conv(1, 1, 2), (4, 4)).box(0, 0)
    assert left == right


# --- global context


def squeeze(x: Tensor, reduce: nn.Module) -> Tensor:
    return x * torch.sigmoid(reduce(F.adaptive_avg_pool2d(x, 1)))


def squeeze_by_mean(x: Tensor, linear: nn.Module) -> Tensor:
    return x * linear(x.mean((2, 3))).view(x.size(0), -1, 1, 1).expand_as(x)


def attend(x: Tensor, attention: nn.Module) -> Tensor:
    n, c, h, w = x.shape
    tokens = x.flatten(2).transpose(1, 2)
    return x + attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(n, c, h, w)


@pytest.mark.parametrize(
    "net",
    [
        Net(squeeze, nn.Conv2d(8, 8, 1)),
        Net(squeeze_by_mean, nn.Linear(8, 8)),
        Net(attend, nn.MultiheadAttention(8, 2, batch_first=True)),
        nn.GroupNorm(2, 8),
        Net(lambda x: x - x.mean(dim=-1, keepdim=True)),
        Net(lambda x: x * torch.softmax(x, -1)),
        Net(lambda x: F.layer_norm(x, x.shape[1:])),
    ],
)
def test_what_mixes_the_map_sees_everything(net: nn.Module) -> None:
    stem = nn.Conv2d(8, 8, 3, 2, 1)
    field = seen_by(nn.Sequential(stem, net, nn.Conv2d(8, 8, 3)), (20, 13), channels=8)
    assert field.global_context and field.size == (20, 13) and field.box(1, 1) == (0, 0, 20, 13)
    assert (field.stride, field.start, field.aligned) == ((2, 2), (2.0, 2.0), True)


@pytest.mark.parametrize(
    "net",
    [
        Net(lambda x, fc: fc(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.Linear(8, 8)),
        Net(lambda x, norm: norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(8)),
        Net(lambda x: x.view(-1, 2, 4, x.size(2), x.size(3)).transpose(1, 2).contiguous().view(x.size())),
        Net(lambda x: torch.cat([x.chunk(4, 1)[part] * 2 for part in range(4)], 1)),
        Net(lambda x: torch.cat([torch.unsqueeze(x[:, c], 1) * 0.5 + c for c in range(8)], 1)),
        Net(lambda x: x * torch.softmax(x, dim=1) + x.mean(1, keepdim=True)),
        nn.Sequential(nn.BatchNorm2d(8), nn.Hardswish(), nn.Dropout(), nn.LocalResponseNorm(3)),
    ],
)
@pytest.mark.parametrize("size", [(20, 13), (2, 2)])
def test_what_works_on_channels_keeps_the_field(net: nn.Module, size: tuple[int, int]) -> None:
    stem = nn.Conv2d(8, 8, 3, 2, 1)
    field = seen_by(nn.Sequential(stem, net), size, channels=8)
    assert field == seen_by(stem, size, channels=8)


# --- what is not known


class Shifted(nn.AvgPool2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(torch.roll(input, 1, -1))


class OwnPadding(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.pad(input, (0, 1, 0, 1)))


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (nn.Upsample(scale_factor=2), "which cells the operation Upsample takes"),
        (nn.ConvTranspose2d(1, 1, 2), "which cells the operation ConvTranspose2d takes"),
        (Net(lambda x: torch.roll(x, 1)), "which cells the operation roll takes"),
        (Shifted(3, 1, 1), "which cells the operation Shifted takes"),
        (OwnPadding(1, 1, 2), "give it a method same_padding"),
        (nn.Conv2d(1, 1, 3, 1, 1, padding_mode="reflect"), "padding by zeros"),
        (nn.AdaptiveAvgPool2d(5), "windows of different sizes"),
        (Net(lambda x: F.pad(x, (1, 1, 1, 1), "reflect")), "outside its edge"),
        (Net(lambda x: torch.cat([x, x], -1)), "joins maps along x or y"),
        (Net(lambda x: x[..., [3, 1]]), "can pick any cell"),
        (Net(lambda x, c: c(x.transpose(2, 3)), conv(3)), "not a fixed window"),
    ],
)
def test_an_unknown_reach_is_never_a_number(layer: nn.Module, reason: str) -> None:
    fields = fields_of(nn.Sequential(conv(3, 1, 1), layer, nn.ReLU()), (12, 12))
    assert fields.layer("0").size == (3, 3)
    with pytest.raises(OptionError, match=reason):
        fields.layer("2")


def test_layers_and_nodes_are_found_by_name() -> None:
    fields = fields_of(models.resnet18(), (64, 64), channels=3)
    assert fields.layer("layer4") is fields["layer4_1_relu_1"] is fields.layer("layer4.1.relu")
    assert fields.layer("layer4.1.relu") != fields["layer4_1_relu"]
    with pytest.raises(UnknownName, match="did you mean 'layer4'"):
        fields.layer("layer_4")
    with pytest.raises(OptionError, match=r"'fc' is not known: it is not a map .* but \('N', 1000\)"):
        fields.layer("fc")


def test_a_size_the_network_does_not_take() -> None:
    with pytest.raises(ModelError, match="fails on an input of 3 x 4 pixels, at '_1'"):
        fields_of(nn.Sequential(conv(3), nn.MaxPool2d(4)), (3, 4))


def test_the_model_is_not_touched() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(1)).eval()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    handle = net[0].register_forward_hook(lambda *_: pytest.fail("a hook ran"))
    receptive_fields(trace(net), (9, 9))
    handle.remove()
    assert net[0].weight.requires_grad and net[0].weight.grad is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


# --- against gradients


def random_layer(rng: random.Random, gaps: bool) -> nn.Module:
    """gaps: with dilation, and strides that leave cells out."""
    kernel = rng.randint(1, 4), rng.randint(1, 4)
    down, across = (rng.randint(1, 3 if gaps else min(k, 3)) for k in kernel)
    stride = down, across
    padding = rng.randint(0, kernel[0] // 2), rng.randint(0, kernel[1] // 2)
    dilation = (rng.randint(1, 2), rng.randint(1, 3)) if gaps else 1
    pool = nn.AvgPool2d(kernel, stride, padding, ceil_mode=rng.random() < 0.5)
    crop = nn.ZeroPad2d(tuple(rng.randint(-1, 2) for _ in range(4)))  # type: ignore[arg-type]
    same = SameConv2d(1, 1, kernel, stride, dilation=dilation, bias=False)
    return rng.choice([conv(kernel, stride, padding, dilation), conv(kernel, 1, "same"), pool, crop, same])


def positive(net: nn.Module) -> nn.Module:
    """Without cancellation, every path is in the gradient."""
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    return net.double().eval()


def supports(net: nn.Module, size: tuple[int, int]) -> dict[tuple[int, int], tuple[int, int, int, int] | None]:
    """{cell (u, v): box around the pixels with a non-zero gradient, None where there are none}."""
    image = torch.rand(1, 1, size[1], size[0], dtype=torch.float64, requires_grad=True)
    output = net(image)
    found: dict[tuple[int, int], tuple[int, int, int, int] | None] = {}
    for v, u in torch.cartesian_prod(*(torch.arange(n) for n in output.shape[-2:])).tolist():
        (gradient,) = torch.autograd.grad(output[:, :, v, u].sum(), image, retain_graph=True)
        rows, columns = gradient[0, 0].nonzero(as_tuple=True)
        found[u, v] = None
        if len(rows):
            found[u, v] = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    return found


def within(inner: tuple[int, int, int, int], outer: tuple[int, int, int, int]) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


@pytest.mark.parametrize("seed", range(40))
def test_a_single_path_sees_exactly_its_box(seed: int) -> None:
    rng = random.Random(seed)
    gaps, size = seed % 2 == 1, (rng.randint(17, 31), rng.randint(17, 31))
    net = positive(nn.Sequential(*(random_layer(rng, gaps) for _ in range(rng.randint(1, 4)))))
    field = seen_by(net, size)
    for cell, support in supports(net, size).items():
        box = field.box(*cell)
        assert support is None or within(support, box)
        # a gap can hide the border pixels of a box that reaches beyond the border
        if support and (not gaps or box == field.box(*cell, clip=False)):
            assert support == box


@pytest.mark.parametrize("seed", range(20))
def test_several_paths_see_no_more_than_their_box(seed: int) -> None:
    rng = random.Random(seed)
    size, step = (rng.randint(15, 24), rng.randint(15, 24)), rng.randint(1, 2)

    def path() -> nn.Module:
        left, top, kernel = rng.randint(0, 2), rng.randint(0, 2), rng.randint(1, 5)
        pad = nn.ZeroPad2d((left, kernel - 1 - left, top, kernel - 1 - top))
        return nn.Sequential(pad, conv(kernel, step), conv(3, 1, 1), nn.ReLU())

    def run(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, end: nn.Module) -> Tensor:
        both = torch.cat([a(x), b(x)], 1).mean(1, keepdim=True)
        return end(both * (1 + c(x)) if seed % 3 else both * F.adaptive_max_pool2d(c(x), 1) + both)

    net = positive(Net(run, path(), path(), path(), nn.MaxPool2d(3, 2, 1, ceil_mode=True)))
    field = seen_by(net, size)
    assert field.global_context == (seed % 3 == 0)
    assert all(support and within(support, field.box(*cell)) for cell, support in supports(net, size).items())


# --- torchvision


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], nn.Module]:
    """Builds a classifier without memory for its weights."""
    make_parameters = regnet.BlockParams.from_init_params

    def from_init_params(*given: Any, **options: Any) -> Any:
        with torch.device("cpu"):  # it computes widths with tensors
            return make_parameters(*given, **options)

    def build(name: str) -> nn.Module:
        options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
        with torch.device("meta"):
            return models.get_model(name, weights=None, **options).eval()

    monkeypatch.setattr(regnet.BlockParams, "from_init_params", from_init_params)
    return build


@pytest.mark.parametrize("name", models.list_models(module=models))
def test_every_classifier_of_torchvision(name: str, on_meta: Callable[[str], nn.Module]) -> None:
    size = 299 if name == "inception_v3" else 224
    fields = fields_of(on_meta(name), (size, size), channels=3)
    mixing = name.startswith(("efficientnet", "mobilenet_v3", "regnet_y", "swin", "maxvit"))
    # the last map of ViT is its patch embedding, before any attention
    stride = int(name[-2:]) if name.startswith("vit") else 16 if name.startswith("squeezenet") else 32
    assert last(fields).stride == (stride, stride)
    assert last(fields).global_context == mixing and last(fields).aligned
    assert all("not a map" in reason for reason in fields.unknown.values())


@pytest.mark.parametrize(
    ("name", "size", "start"),
    [
        ("resnet18", 435, 0),
        ("resnet50", 427, 0),
        ("mobilenet_v2", 491, 0),
        ("vgg16", 212, 15.5),
        ("convnext_tiny", 1688, 15.5),
        ("densenet121", 2071, 14),
        ("googlenet", 379, 22),
        ("alexnet", 195, 31),
        ("squeezenet1_0", 155, 17),
        ("squeezenet1_1", 207, 15),
        ("inception_v3", 1311, 37),
        ("efficientnet_b0", 224, 0),
    ],
)
def test_known_networks(name: str, size: int, start: float, on_meta: Callable[[str], nn.Module]) -> None:
    n = 299 if name == "inception_v3" else 224
    field = last(fields_of(on_meta(name), (n, n), channels=3))
    assert (field.size, field.start) == ((size, size), (start, start))
