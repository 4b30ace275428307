"""Networks with several outputs: one is explained, exactly as a network that gives that one alone."""

import logging
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import picture
from torch import Tensor, nn

import camserve
from camserve.errors import ModelError, OptionError, UnknownName

COLOURS, SHAPES = ["red", "green", "blue", "black", "white", "grey", "pink"], ["disc", "square", "ring", "star"]
INPUT: dict[str, Any] = {"size": 32, "mean": (0, 0, 0), "std": (255, 255, 255)}
HEADS = ("colour", "shape")


class Attributes(nn.Module):
    """Two heads on one body, answered as `how` puts them together."""

    def __init__(self, how: Callable[[Tensor, Tensor], Any] = lambda colour, shape: {"colour": colour, "shape": shape}):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 16, 3, 2, 1), nn.ReLU())
        self.colour, self.shape, self.how = nn.Linear(16, 7), nn.Linear(16, 4), how

    def forward(self, x: Tensor) -> Any:
        pooled = self.body(x).mean((2, 3))
        return self.how(self.colour(pooled), self.shape(pooled))


class Alone(nn.Module):
    """One of the heads."""

    def __init__(self, net: Attributes, head: str) -> None:
        super().__init__()
        self.net, self.head = net, head

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = getattr(self.net, self.head)(self.net.body(x).mean((2, 3)))
        return answer


def load(net: nn.Module, **options: Any) -> camserve.Model:
    return camserve.load(net, **{**INPUT, **options})


def hidden(colour: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
    """What torch.fx cannot follow."""
    if float(colour.detach().sum()) > 1e9:
        raise AssertionError
    return colour, shape


WAYS: dict[str, tuple[Callable[[Tensor, Tensor], Any], tuple[str | int, str | int], bool]] = {
    "dict": (lambda colour, shape: {"colour": colour, "shape": shape}, HEADS, True),
    "nested": (lambda colour, shape: {"heads": {"colour": colour, "shape": shape}}, ("heads.colour", "shape"), True),
    "tuple": (lambda colour, shape: (colour, shape), (0, "1"), True),
    "object": (lambda colour, shape: SimpleNamespace(colour=colour, shape=shape), HEADS, False),
    "hooked": (hidden, (0, 1), False),
    "probabilities": (lambda colour, shape: [colour.softmax(1), shape.softmax(1)], (0, 1), True),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_head_is_explained_as_a_network_that_gives_it_alone(way: str) -> None:
    how, names, traced = WAYS[way]
    net = Attributes(how)
    model = load(net, output=names[0])
    assert (model.network.graph is not None) is traced
    for name, head in zip(names, HEADS, strict=True):
        of_one, alone = model.explain(picture(), output=name), load(Alone(net, head)).explain(picture())
        assert of_one.method == "cam"
        assert np.array_equal(of_one.map, alone.map)
        assert np.array_equal(of_one.logits, alone.logits)
        assert of_one.completeness == alone.completeness
        for target in (0, 1):
            maps = model.class_maps(picture(), output=name), load(Alone(net, head)).class_maps(picture())
            assert np.array_equal(maps[0][target], maps[1][target])
        gradient = {"target": 1, "method": "layercam"}
        assert np.array_equal(
            model.explain(picture(), output=name, **gradient).map,  # type: ignore[arg-type]
            load(Alone(net, head)).explain(picture(), **gradient).map,  # type: ignore[arg-type]
        )


def test_nobody_chose() -> None:
    said = r'several tensors could be the logits: colour \(N, 7\), shape \(N, 4\)\. Choose one with output= .*"shape"'
    with pytest.raises(ModelError, match=said):
        load(Attributes())
    with pytest.raises(ModelError, match="there are 3 labels, and no tensor has as many classes"):
        load(Attributes(), labels=["a", "b", "c"])
    with pytest.raises(ModelError, match="colour"):
        load(Attributes(), labels={"colour": COLOURS, "shape": SHAPES})


def test_an_output_that_there_is_not() -> None:
    model = load(Attributes(), output="colour")
    for ask in (lambda: load(Attributes(), output="hue"), lambda: model.explain(picture(), output="hue")):
        with pytest.raises(UnknownName, match=r"unknown output 'hue'\. Known: colour \(N, 7\), shape \(N, 4\)"):
            ask()
    with pytest.raises(OptionError, match="answers with a tensor, so there are no parts to choose"):
        load(Alone(Attributes(), "shape")).explain(picture(), output=0)
    with pytest.raises(OptionError, match="answers with a tensor, so there are no parts to choose"):
        load(Alone(Attributes(), "shape"), output="shape")


def test_the_outputs_and_which_of_them_it_is() -> None:
    model = load(Attributes(), output=0)
    assert (model.outputs, model.output, model.card.output) == (HEADS, "colour", "colour")
    other = model.of_output("shape")
    assert (other.outputs, other.output, other.title) == (HEADS, "shape", "Attributes, shape")
    assert isinstance(other, camserve.Model)
    plain = load(Alone(Attributes(), "shape"))
    assert (plain.outputs, plain.output, plain.title, plain.explain(picture()).output) == ((), None, "Alone", None)


def test_another_output_shares_the_network_and_is_made_once() -> None:
    model = load(Attributes(), output="colour")
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(model.of_output, ["shape", 1, "shape", "1"]))
    assert len(set(map(id, made))) == 1
    assert made[0].module is model.module
    assert model.of_output("colour") is model.of_output(None) is model
    assert made[0].weights_sha256 == model.weights_sha256


def test_the_result_says_which_output_it_is_of() -> None:
    model = load(Attributes(), output="colour", labels={"colour": COLOURS, 1: SHAPES})
    made = model.explain(picture(), target="ring", output="shape")
    facts = made.to_dict()
    assert (facts["output"], facts["class_name"], made.in_short) == ("shape", "ring", f"shape: ring {made.score:.2f}")
    assert facts["provenance"]["model"]["card"]["output"] == "shape"
    assert pickle.loads(pickle.dumps(made.attribution)).output == "shape"
    assert load(Alone(Attributes(), "shape")).explain(picture()).to_dict()["output"] is None
    many = model.explain_many([picture()], output="shape")
    assert [one.output for one in many if isinstance(one, camserve.Explanation)] == ["shape"]
    assert [one.output for one in model.explain_classes(picture(), 2, output=1)] == ["shape", "shape"]


def test_an_output_that_is_beside_others_unasked_is_not_in_the_words() -> None:
    features = load(Attributes(lambda colour, shape: {"features": colour, "logits": shape}), labels=SHAPES)
    made = features.explain(picture())
    assert (made.output, made.in_short) == ("logits", f"{made.class_name} {made.score:.2f}")


def test_labels_of_each_output(tmp_path: Path) -> None:
    (tmp_path / "shapes.txt").write_text("\n".join(SHAPES))
    by_index = dict(enumerate(COLOURS))
    for files in ({"shape": str(tmp_path / "shapes.txt")}, {"shape": tmp_path / "shapes.txt"}, {1: tuple(SHAPES)}):
        model = load(Attributes(), output="colour", labels={"colour": by_index, **files})
        assert model.labels == tuple(COLOURS)
        assert model.of_output("shape").labels == tuple(SHAPES)
    only = load(Attributes(), labels={"shape": SHAPES})  # the only one that has names
    assert (only.output, only.labels) == ("shape", tuple(SHAPES))
    assert only.of_output("colour").labels[0] == "class 0"


def test_one_list_of_labels_is_of_the_output_that_has_as_many_classes() -> None:
    model = load(Attributes(), labels=SHAPES)
    assert (model.output, model.labels) == ("shape", tuple(SHAPES))
    assert model.of_output("colour").labels[:2] == ("class 0", "class 1")
    same = load(Attributes(lambda colour, shape: {"shape": shape, "other": shape + 1}), output="shape", labels=SHAPES)
    assert same.of_output("other").labels[0] == "class 0"  # as many, but not its names


def test_labels_that_fit_no_output() -> None:
    with pytest.raises(UnknownName, match=r"unknown output 'hue'.* colour \(N, 7\)"):
        load(Attributes(), output="colour", labels={"colour": COLOURS, "hue": ["a"]})
    with pytest.raises(ModelError, match="has 7 classes, but 4 labels"):
        load(Attributes(), output="colour", labels={"colour": SHAPES, "shape": SHAPES})
    with pytest.raises(OptionError, match="output 'shape': .* leave output out, and give labels as one list"):
        load(Alone(Attributes(), "shape"), labels={"shape": SHAPES})


def test_what_scores_are_is_found_for_each_output() -> None:
    model = load(Attributes(lambda colour, shape: (colour.softmax(1), shape.sigmoid())), output=0)
    assert [model.of_output(place).card.scores for place in (0, 1)] == ["softmax", "sigmoid"]
    assert model.explain(picture()).scores.sum() == pytest.approx(1)


def test_an_inspection_says_the_outputs() -> None:
    from camserve.models.inspection.words import sentences

    inspection = load(Attributes(), output="shape").inspect()
    facts = inspection.to_dict()
    assert (facts["outputs"], facts["output"], facts["classes"]) == (["colour", "shape"], "shape", 4)
    assert sentences(inspection)["output"] == "'shape'; the network has others: colour."
    plain = load(Alone(Attributes(), "shape")).inspect()
    assert (plain.to_dict()["outputs"], "output" in sentences(plain)) == ([], False)


def test_the_graph_is_cut_to_the_head_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    """The other head is no part of it any more."""
    with caplog.at_level(logging.WARNING):
        graph = load(Attributes(), output="shape").network.graph
    assert not caplog.records
    assert graph is not None
    assert "colour" not in {str(node.target) for node in graph.graph.nodes}
