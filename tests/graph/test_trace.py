"""A traced graph computes what the module does, step by step, and tracing disturbs nobody."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camserve.errors import UnknownName
from camserve.graph.cut import find_layer, layer_names, node_of, shortest_name, shortest_names, split
from camserve.graph.network import network_of
from camserve.graph.original.given import Given
from camserve.graph.original.guard import difference
from camserve.graph.trace import Untraceable, setitem, trace, without_dead_code


class Step(nn.Module):
    """A convolution, a step that writes into what it is given, and the mean of what it left."""

    def __init__(self, step: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.relu, self.step = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), step

    def forward(self, x: Tensor) -> Tensor:
        values = self.conv(x)
        self.step(self, values)
        return values.mean((2, 3))


def assign(net: Step, values: Tensor) -> None:
    values[:, 1] = values[:, 0] * 3


def assign_twice(net: Step, values: Tensor) -> None:
    values[:, 0] = 1.0
    values[:, 1] = values[:, 0] + 1


def add_to(net: Step, values: Tensor) -> None:
    values += 2


def out(net: Step, values: Tensor) -> None:
    torch.mul(values, 3.0, out=values)


WRITING: dict[str, Callable[[Any, Tensor], Any]] = {
    "a method": lambda net, values: values.mul_(2),
    "two methods": lambda net, values: values.add_(1).mul_(2),
    "one after the other": lambda net, values: (values.add_(1), values.mul_(2)),
    "a function": lambda net, values: torch.relu_(values),
    "a function told to": lambda net, values: F.leaky_relu(values, 0.5, inplace=True),
    "a module": lambda net, values: net.relu(values),
    "a view": lambda net, values: values[:, 2].zero_(),
    "an assignment": assign,
    "assignments in order": assign_twice,
    "out=": out,
}


def image(height: int = 9, width: int = 7) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("how", WRITING)
def test_what_writes_in_place_is_kept_and_comes_in_its_order(how: str) -> None:
    net = Step(WRITING[how]).eval()
    graph = trace(net)
    without_dead_code(graph)
    with torch.no_grad():
        expected = net(image())
        assert not torch.allclose(expected, net.conv(image()).mean((2, 3)))  # the step counts
        assert torch.equal(graph(image()), expected)
        body, head = split(graph, "conv")
        activations, carried = body(image())
        assert torch.equal(head(activations, *carried), expected)
        assert torch.equal(activations, net.conv(image()))


@pytest.mark.parametrize(("how", "layer"), [("a method", "mul_"), ("a module", "relu"), ("an assignment", "setitem")])
def test_what_is_read_after_a_step_in_place_depends_on_that_step(how: str, layer: str) -> None:
    net = Step(WRITING[how]).eval()
    body, head = split(trace(net), layer)
    with torch.no_grad():
        activations, carried = body(image())
        assert carried == ()
        torch.testing.assert_close(head(activations + 1), net(image()) + 1)


def test_an_operator_in_place_on_what_another_name_holds_is_left_to_the_module() -> None:
    """To torch.fx `values += 2` is `values = values + 2`, which other holders of it do not see: the guard does."""
    net = Step(add_to).eval().requires_grad_(requires_grad=False)
    given = Given(net, 16)
    assert not torch.equal(trace(net)(image()), net(image()))
    assert difference(given, trace(net))
    network = network_of(given)
    assert network.graph is None
    assert torch.equal(network.whole(image()), net(image()))


def test_what_nothing_reads_is_taken_out() -> None:
    class Idle(Step):
        def forward(self, x: Tensor) -> Tensor:
            values = self.conv(x)
            self.relu(values.clone())
            values.exp().sum()
            return values.mean((2, 3))

    graph = trace(Idle(lambda *_: None).eval())
    without_dead_code(graph)
    called = [node.name for node in graph.graph.nodes]
    assert "exp" not in called
    assert "sum_1" not in called
    torch.testing.assert_close(graph(image()), graph.conv(image()).mean((2, 3)))


def test_an_assignment_gives_what_it_wrote_into() -> None:
    values = torch.zeros(3)
    assert setitem(values, 1, 5) is values
    assert values.tolist() == [0, 5, 0]


class Optional(nn.Module):
    """Arguments that may be left out have their defaults: no loss, no auxiliary head."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, first: Any = None, *, images: Tensor | None = None, labels: Any = None) -> Tensor:
        assert labels is None
        assert (first is None) != (images is None)
        return self.conv(first if images is None else images).mean((2, 3))


@pytest.mark.parametrize("keyword", [None, "images"])
def test_arguments_that_may_be_left_out_are(keyword: str | None) -> None:
    net = Optional().eval()
    assert torch.equal(trace(net, keyword)(image()), net(image()))


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, x[:, :, :3]), 1)


def test_a_graph_that_fails_says_nothing_by_itself(capfd: pytest.CaptureFixture[str]) -> None:
    graph = trace(Failing())
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        graph(image())
    body, _ = split(trace(Step(WRITING["a module"])), "conv")
    with pytest.raises(RuntimeError):
        body(torch.zeros(1, 4, 9, 9))
    with pytest.raises(Untraceable, match=r"torch\.fx cannot trace Depends: "):
        trace(Depends())
    assert capfd.readouterr() == ("", "")


class Depends(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class Slow(nn.Module):
    """Waits for another thread while it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.reached, self.go_on = threading.Event(), threading.Event()

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, fx.Proxy):
            self.reached.set()
            assert self.go_on.wait(30)
        return self.conv(x).mean((2, 3))


def test_other_threads_run_their_modules_while_one_traces() -> None:
    slow, other, made = Slow(), Step(WRITING["a module"]), list[Any]()
    with torch.no_grad():
        expected = other(image())
    tracing = threading.Thread(target=lambda: made.append(trace(slow)))
    tracing.start()
    try:
        assert slow.reached.wait(30)
        with torch.no_grad():
            assert torch.equal(other(image()), expected)  # another module, and those of the traced one itself
            assert torch.equal(slow.conv(image()), F.conv2d(image(), slow.conv.weight, slow.conv.bias))
        assert isinstance(slow.conv.weight, nn.Parameter)
    finally:
        slow.go_on.set()
        tracing.join()
    assert [node.op for node in made[0].graph.nodes] == ["placeholder", "call_module", "call_method", "output"]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.act(self.conv(x)).chunk(2, 2)
        return torch.cat((left + right, left - right, left + 1), 1)[:, :3]


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.Sequential(Block(), Block())
        self.lstm, self.fc = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stages(x)) + 1
        return self.fc(self.lstm(F.relu(x).flatten(2).transpose(1, 2))[0].mean(1))


def test_names_are_those_of_modules_and_of_functions_where_they_are_called() -> None:
    graph = trace(Blocks())
    assert list(layer_names(graph)) == [
        *("stages.0.conv", "stages.0.act", "stages.0.chunk", "stages.0.getitem", "stages.0.getitem_1"),
        *("stages.0.add", "stages.0.sub", "stages.0.add_1", "stages.0.cat", "stages.0", "stages.0.getitem_2"),
        *("stages.1.conv", "stages.1.act", "stages.1.chunk", "stages.1.getitem", "stages.1.getitem_1"),
        *("stages.1.add", "stages.1.sub", "stages.1.add_1", "stages.1.cat", "stages", "stages.1"),
        *("stages.1.getitem_2", "relu", "add", "relu_1", "flatten", "transpose", "lstm", "mean", "fc"),
    ]


def test_names_do_not_change_with_what_comes_before() -> None:
    """A function's number counts from its own module: another block before it does not change its name."""
    net = Blocks()
    before = {name for name in layer_names(trace(net)) if name.startswith("stages.1")}
    net.stages = nn.Sequential(nn.Identity(), net.stages[1])
    assert {name for name in layer_names(trace(net)) if name.startswith("stages.1")} == before


def test_each_node_has_one_shortest_name() -> None:
    graph = trace(Blocks())
    shown = shortest_names(graph)
    assert len(set(shown.values())) == len(shown)
    assert all(find_layer(graph, name) is node for node, name in shown.items())
    assert shortest_name(graph, find_layer(graph, "stages.1.getitem_2")) == "stages"
    assert shortest_name(graph, find_layer(graph, "stages.0.getitem_2")) == "stages.0"
    assert shown[find_layer(graph, "lstm")] == "lstm"  # the first of its results, its output proper


def test_names_that_torch_gave_to_nodes_are_known_too() -> None:
    graph = trace(Blocks())
    assert node_of(graph, "stages_1_act") is find_layer(graph, "stages.1.act")
    assert node_of(graph, "relu") is find_layer(graph, "relu")
    with pytest.raises(UnknownName, match="unknown layer 'stages.1.actt'; did you mean 'stages.1.act'"):
        node_of(graph, "stages.1.actt")


class MakesATable(nn.Module):
    """Registers at its first call what it needs for later ones."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "table"):
            self.register_buffer("table", torch.ones(1) * x.mean())
            self.seen = x.shape[-1]
        return x + self.table


def test_a_module_holds_after_tracing_what_it_held_before() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), MakesATable())
    before = [(name, list(vars(part)), list(part._buffers)) for name, part in module.named_modules()]
    with contextlib.suppress(Untraceable):
        trace(module)
    assert [(name, list(vars(part)), list(part._buffers)) for name, part in module.named_modules()] == before
