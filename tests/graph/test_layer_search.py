"""The layer to look at: what the network does decides, and where it is not what it should be, a note says so."""

from collections.abc import Callable

import pytest
import torch
from oracles import lively
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.errors import ModelError
from camserve.graph.hooked import HookedNetwork
from camserve.graph.layer_search.places import places_of
from camserve.graph.layer_search.separators import key_of, separators
from camserve.graph.layout import Layout
from camserve.graph.network import Network, network_of
from camserve.graph.original.given import Given
from camserve.graph.traced import TracedNetwork

SIDE = 64


class Body(nn.Module):
    """Two convolutions with a stride of four each; what comes behind them is a function of the last one's maps."""

    def __init__(self, rest: Callable[..., Tensor]) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 8, 4, 4), nn.GELU()
        self.last, self.wide = nn.Conv2d(8, 8, 4, 4), nn.Conv2d(8, 16, 1)
        self.gate, self.fc = nn.Linear(8, 8), nn.Linear(8, 5)
        self.norm, self.token = nn.LayerNorm(8), nn.Parameter(torch.zeros(1, 1, 8))
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(self, self.last(self.act(self.stem(x))))


def mean(net: Body, x: Tensor) -> Tensor:
    return net.fc(x.mean((2, 3)))


def of_places(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def gated(net: Body, x: Tensor) -> Tensor:
    """Squeeze and excitation: the gate goes around the maps, and is no map."""
    return net.fc((x * net.gate(x.mean((2, 3)))[..., None, None].sigmoid()).mean((2, 3)))


def tokens(net: Body, x: Tensor) -> Tensor:
    return net.fc(net.norm(of_places(x)).mean(1))


def last(net: Body, x: Tensor) -> Tensor:
    return net.fc(net.norm(x.movedim(1, 3)).mean((1, 2)))


def pooled_to_a_grid(net: Body, x: Tensor) -> Tensor:
    """A pooling to 2 x 2 cells of any map: behind it, nothing grows with the image."""
    return net.fc(F.adaptive_avg_pool2d(net.act(x), 2).mean((2, 3)))


def attended(net: Body, x: Tensor) -> Tensor:
    """What attention weighs goes around its weights."""
    t = net.norm(of_places(x))
    return net.fc((t + (t @ t.transpose(1, 2)).softmax(-1) @ t).mean(1))


NAMES: dict[Callable[..., Tensor], tuple[str, str, tuple[int, int, int]]] = {
    mean: ("last", "first", (8, 4, 4)),
    tokens: ("norm", "tokens", (8, 4, 4)),
    last: ("norm", "last", (8, 4, 4)),
}


def given(rest: Callable[..., Tensor]) -> Given:
    return Given(lively(Body(rest), SIDE).requires_grad_(requires_grad=False), SIDE)


@pytest.mark.parametrize("kind", [TracedNetwork, HookedNetwork])
@pytest.mark.parametrize("rest", NAMES, ids=lambda rest: rest.__name__)
def test_the_last_activation_with_places_is_found(
    rest: Callable[..., Tensor], kind: Callable[[Given], Network]
) -> None:
    name, _, shape = NAMES[rest]
    network = kind(given(rest))
    assert network.default_layer() == name
    assert network.layers()[name] == shape
    assert network.notes_at((SIDE, SIDE), [name]) == ()


@pytest.mark.parametrize("rest", [gated, pooled_to_a_grid, attended], ids=lambda rest: rest.__name__)
def test_what_a_careful_person_would_name(rest: Callable[..., Tensor]) -> None:
    network = network_of(given(rest))
    assert network.default_layer() == {gated: "mul", pooled_to_a_grid: "act", attended: "add"}[rest]
    assert network.layers()[network.default_layer()] == (8, 4, 4)


def test_a_value_that_something_goes_around_is_not_chosen_and_a_note_says_it() -> None:
    def two_ways(net: Body, x: Tensor) -> Tensor:
        return net.fc(net.act(x).mean((2, 3)) + net.wide(x).relu()[:, :8].amax((2, 3)))

    network = network_of(given(two_ways))
    assert network.default_layer() == "last"
    (note,) = network.notes_at((SIDE, SIDE), ["last"])
    assert note.startswith(
        "layer 'last' is the last one that everything passes through, but after it the network has several branches"
    )
    assert network.notes_at((SIDE, SIDE), ["stem"]) == ()


def test_a_network_that_moves_what_it_sees_is_said_to() -> None:
    def turned_over(net: Body, x: Tensor) -> Tensor:
        return net.fc(net.norm(of_places(x).flip(1)).tanh().mean(1))

    network = network_of(given(turned_over))
    assert network.default_layer() == "transpose"  # the tokens, before they are turned over
    (note,) = network.notes_at((SIDE, SIDE), ["transpose"])
    assert note.startswith("after layer 'transpose' camserve cannot tell where in the image the network's values lie")


def test_a_class_token_is_read_where_the_patches_still_count() -> None:
    """Behind the last block only the token counts; what it reads there is the normed tokens, one token before them."""

    def read(net: Body, x: Tensor) -> Tensor:
        t = torch.cat((net.token.expand(x.shape[0], -1, -1), of_places(x)), 1)
        t = net.norm(t)
        return net.fc((t[:, :1] + (t[:, :1] @ t.transpose(1, 2)).softmax(-1) @ t)[:, 0])

    network = network_of(given(read))
    assert network.default_layer() == "norm"
    assert network.layers()["norm"] == (8, 4, 4)


def test_a_network_without_places_is_refused_and_candidates_are_named() -> None:
    class Flat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.one, self.two = nn.Linear(3 * SIDE * SIDE, 8), nn.Linear(8, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x.flatten(1)).relu())

    one = Given(Flat().eval().requires_grad_(requires_grad=False), SIDE)
    with pytest.raises(ModelError, match="Flat has no layer that everything passes through"):
        network_of(one).default_layer()


def test_a_network_without_gradients_is_refused() -> None:
    def cut_off(net: Body, x: Tensor) -> Tensor:
        return net.fc(x.detach().mean((2, 3)))

    with pytest.raises(ModelError, match="there is no gradient from the network's answer to its input"):
        network_of(given(cut_off)).default_layer()


def test_a_classifier_that_starts_at_zero_hides_nothing() -> None:
    net = lively(Body(mean), SIDE).requires_grad_(requires_grad=False)
    assert isinstance(net, Body)
    nn.init.zeros_(net.fc.weight)
    assert network_of(Given(net, SIDE)).default_layer() == "last"


def test_places_are_told_by_shape() -> None:
    shapes = {
        "maps": (1, 8, 7, 7),
        "last": (1, 7, 7, 9),
        "tokens": (1, 50, 6),
        "vector": (1, 8),
        "pooled": (1, 8, 1, 1),
    }
    found = places_of(shapes, (224, 224), {"maps": (7, 7), "last": (7, 7)})
    assert {name: (one.layout, one.shape) for name, one in found.items()} == {
        "maps": (Layout("first"), (8, 7, 7)),
        "last": (Layout("last"), (9, 7, 7)),
        "tokens": (Layout("tokens", 1, (32.0, 32.0)), (6, 7, 7)),
    }
    assert found["maps"].grid == (7, 7)


def test_separators_are_what_every_path_goes_through() -> None:
    image = torch.ones(3, requires_grad=True)
    trunk = image * 2
    left, right = trunk.sin(), trunk.cos()
    joined = left * right
    gate = joined.sum()
    out = joined * gate
    answer = out.sum()
    keys = separators(answer, image)
    assert {name: key_of(value) in keys for name, value in locals().items() if isinstance(value, Tensor)} == {
        "image": False,
        "trunk": True,
        "left": False,
        "right": False,
        "joined": True,
        "gate": False,
        "out": True,
        "answer": True,
    }


def test_what_no_image_reaches_is_no_separator() -> None:
    image, weight = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    scaled = weight * 2
    answer = (image.exp() * scaled).sum()
    assert key_of(scaled) not in separators(answer, image)
    assert separators(torch.ones(3), image) == set()
    assert separators(scaled.sum(), image) == set()
    assert key_of(torch.ones(3)) is None


def test_each_of_several_results_is_a_value_of_its_own() -> None:
    image = torch.ones(4, requires_grad=True)
    first, second = (image * 3).chunk(2)
    keys = separators(first.sum(), image)
    assert key_of(first) in keys
    assert key_of(second) not in keys
    assert not {key_of(first), key_of(second)} & separators((first + second).sum(), image)
