"""Probabilities are known by their numbers and by what made them; the logits before them are read as it runs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camserve.graph.original.logits import Part, answer_with_logits
from camserve.graph.original.probabilities import Kind, kind_of, undone, without_probabilities
from camserve.graph.trace import trace

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [1.0, 3.0, -2.0, 0.25]])
Function = Callable[[Tensor], Tensor]

FUNCTIONS: dict[str, list[Function]] = {
    "softmax": [
        lambda x: x.softmax(1),
        lambda x: x.softmax(-1),
        lambda x: torch.softmax(x, dim=1),
        lambda x: F.softmax(input=x, dim=1),
        nn.Softmax(1),
    ],
    "log-softmax": [lambda x: x.log_softmax(1), lambda x: F.log_softmax(x, dim=-1), nn.LogSoftmax(1)],
    "sigmoid": [lambda x: x.sigmoid(), torch.sigmoid, nn.Sigmoid()],
}
PLAIN = [(name, function) for name, functions in FUNCTIONS.items() for function in functions]
# Of these a graph does not show what they are; they are read as they run.
RARE: list[tuple[str, Function]] = [
    ("softmax", lambda x: torch.special.softmax(x, 1)),
    ("sigmoid", torch.special.expit),
    ("sigmoid", lambda x: x.clone().sigmoid_()),
]


@pytest.mark.parametrize(("name", "function"), [*PLAIN, *RARE])
def test_the_function_that_made_them_is_found_and_its_logits_are_read(name: str, function: Function) -> None:
    kind = kind_of(lambda: function(LOGITS), Part())
    assert kind == Kind(name, readable=True)
    assert torch.equal(undone(lambda: function(LOGITS), Part(), kind), LOGITS)


def test_gradients_go_through_the_logits_that_were_read() -> None:
    leaf = LOGITS.clone().requires_grad_()
    read = undone(lambda: (3 * leaf).softmax(1), Part(), Kind("softmax"))
    (gradient,) = torch.autograd.grad(read[0, 1], leaf)
    assert gradient.tolist() == [[0, 3, 0, 0], [0, 0, 0, 0]]


def test_of_several_softmaxes_the_last_one_that_gives_the_answer_counts() -> None:
    def call() -> Tensor:
        weights = (LOGITS / 2).softmax(1)  # attention, say, of the same shape
        answer = LOGITS.softmax(1)
        (LOGITS * 0).softmax(1)
        return answer + 0 * weights

    assert kind_of(call, Part()) == Kind("softmax")
    assert torch.equal(undone(call, Part(), Kind("softmax")), LOGITS)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (LOGITS, Kind()),
        (LOGITS.abs() + 1, Kind()),  # above 1
        (LOGITS.softmax(1), Kind("softmax", readable=False)),  # made out of sight
        (LOGITS.log_softmax(1), Kind("log-softmax", readable=False)),
        (LOGITS.sigmoid(), Kind("perhaps")),  # between 0 and 1: proves nothing
        (100 * LOGITS.softmax(1), Kind("perhaps")),  # per cent
        (90 * LOGITS.softmax(1), Kind()),
        (torch.full((2, 4), 0.25), Kind()),  # alike for both images: of a classifier that starts at zero
        (LOGITS * float("nan"), Kind()),
    ],
)
def test_what_numbers_alone_say(answer: Tensor, kind: Kind) -> None:
    assert kind_of(lambda: answer, Part()) == kind


def test_probabilities_of_which_the_logits_cannot_be_read_are_taken_as_logarithms() -> None:
    certain = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    read = undone(lambda: certain, Part(), Kind("softmax", readable=False))
    torch.testing.assert_close(read[1], torch.tensor([0.25, 0.75]).log())
    assert read[0, 0] == 0
    assert read[0, 1] == pytest.approx(-87.33654)  # the smallest number that float32 has in full: no infinity
    logs = certain.clamp(min=0.1).log()
    assert undone(lambda: logs, Part(), Kind("log-softmax", readable=False)) is logs
    assert undone(lambda: certain, Part(), Kind("perhaps")) is certain


class Ending(nn.Module):
    """A mean of a map, and a last function."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(("name", "function"), PLAIN)
def test_a_graph_loses_its_last_function(name: str, function: Function) -> None:
    net, x = Ending(function).eval(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    graph = without_probabilities(trace(net), Kind(name))
    assert graph is not None
    graph.recompile()
    assert torch.equal(graph(x), net.conv(x).mean((2, 3)))


@pytest.mark.parametrize(("name", "function"), RARE)
def test_a_graph_that_does_not_show_it_is_not_taken(name: str, function: Function) -> None:
    assert without_probabilities(trace(Ending(function).eval()), Kind(name)) is None


def test_a_graph_that_ends_otherwise_is_not_changed() -> None:
    def twice(x: Tensor) -> Tensor:
        return x.softmax(1) * 1.0

    assert without_probabilities(trace(Ending(twice)), Kind("softmax")) is None
    assert without_probabilities(trace(Ending(nn.Softmax(1))), Kind("sigmoid")) is None
    assert without_probabilities(trace(Ending(nn.Softmax(1))), Kind("softmax", readable=False)) is None
    plain = trace(Ending(nn.Identity()))
    assert without_probabilities(plain, Kind()) is plain


def test_a_graph_answers_with_the_part_that_holds_the_logits() -> None:
    class Several(Ending):
        def forward(self, x: Tensor) -> dict[str, object]:  # type: ignore[override]
            return {"deep": [self.conv(x), super().forward(x)], "aux": 3}

    net, x = Several(nn.Identity()), torch.zeros(2, 3, 8, 8)
    graph = answer_with_logits(trace(net), Part(("deep", 1)))
    assert graph is not None
    graph.recompile()
    assert torch.equal(graph(x), net.conv(x).mean((2, 3)))
    assert answer_with_logits(trace(net), Part(("aux",))) is None
    assert answer_with_logits(trace(net), Part(("none",))) is None
