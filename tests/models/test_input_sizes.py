"""Which sizes of input a network takes, and what it says of those that it does not."""

import warnings

import torch
import torchvision
from torch import Tensor, fx, nn

from camserve import nets
from camserve.graph.cut import Cut
from camserve.graph.trace import trace
from camserve.models.inspection.sizes import InputSizes, Trial, try_sizes
from camserve.models.inspection.words import sizes_in_words


def halves(body: nn.Module) -> Cut:
    """A network that needs no second half."""
    head = fx.symbolic_trace(nn.Identity())

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = body

        def forward(self, x: Tensor) -> tuple[Tensor, tuple[()]]:
            return self.inner(x), ()

    return Cut(trace(Body()), head, (1, 1), lambda side: None)


def test_the_smallest_size_is_found() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(1))
    sizes = try_sizes(halves(net), (32, 32))
    assert (sizes.any_size, sizes.smallest) == (True, 5)
    assert sizes.below == "the 2 x 2 cells that 'inner.1' gets are too few"
    assert [trial.size for trial in sizes.trials] == [(32, 32), (17, 17), (33, 33), (48, 17), (41, 41)]


def test_any_size_from_one_pixel_on() -> None:
    sizes = try_sizes(halves(nets.efficientnet_lite0(classes=2).eval()), (64, 64))
    assert (sizes.smallest, sizes.below) == (1, "")


def test_a_size_that_a_linear_layer_fixes_is_said_in_words() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 16 * 16, 5))
    sizes = try_sizes(halves(net), (16, 16))
    assert not sizes.any_size
    assert sizes.smallest is None
    reason = "the linear layer 'inner.2' takes 512 features, but gets 162"
    assert sizes.trials[1] == Trial((9, 9), reason)
    assert sizes.trials[0] == Trial((16, 16), "")


def test_a_position_embedding_is_named() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, 4, 4, stride=4)
            self.position = nn.Parameter(torch.zeros(1, 4, 16))

        def forward(self, x: Tensor) -> Tensor:
            return (self.patches(x).flatten(2) + self.position).mean(2)

    reason = try_sizes(halves(Positions()), (16, 16)).trials[-1].reason
    assert reason.startswith("the parameter 'inner.position' has a fixed size, 1x4x16: The size of tensor a (25)")


def test_a_network_s_own_check_is_quoted() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vit = torchvision.models.VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8)
    sizes = try_sizes(halves(vit.eval()), (32, 32))
    assert sizes.trials[2].reason == (
        "the network itself says 'Wrong image height! Expected 32'; its position embedding "
        "'inner.encoder.pos_embedding' has a fixed size, 1x17x8"
    )


def test_sizes_that_lie_between_are_no_any_size() -> None:
    class Multiples(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.unflatten(3, (-1, 16)).mean((2, 3, 4))

    sizes = try_sizes(halves(Multiples()), (32, 32))
    assert [bool(trial.reason) for trial in sizes.trials] == [False, True, True, False, True]
    assert not sizes.any_size


def test_sentences_about_sizes() -> None:
    fixed = InputSizes((Trial((8, 8)), Trial((5, 5), "it is so"), Trial((9, 9), "it is not")))
    assert sizes_in_words(fixed) == "Only 8 x 8 pixels are taken, not 5 x 5, 9 x 9. At 5 x 5, it is so."
    some = InputSizes((Trial((8, 8)), Trial((5, 5), "it is so"), Trial((9, 9))))
    assert (
        sizes_in_words(some)
        == "Not every size: of those tried, 8 x 8, 9 x 9 pixels are taken, not 5 x 5. At 5 x 5, it is so."
    )
    assert sizes_in_words(InputSizes((Trial((8, 8)),), 3, "it is so")).endswith("tried. Below, it is so.")
