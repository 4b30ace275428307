"""Which part of an answer is explained: the one chosen, the one that labels or names tell, never the first."""

from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from camserve.errors import ModelError, OptionError, UnknownName
from camserve.graph.original.answer_parts import AnswerParts, parts_of_answer
from camserve.graph.original.logits import Part


def tensor(*sides: int) -> Tensor:
    return torch.randn(2, *sides, generator=torch.Generator().manual_seed(sum(sides)))


@dataclass(slots=True)
class Slots:
    colour: Tensor
    shape: Tensor


Named = namedtuple("Named", "maps colour shape")

MAPS, COLOUR, SHAPE, FEATURES = tensor(8, 4, 4), tensor(7), tensor(4), tensor(512)


def parts(answer: Any) -> AnswerParts:
    return parts_of_answer(answer, 2)


@pytest.mark.parametrize(
    ("answer", "outputs"),
    [
        (COLOUR, ()),
        ((MAPS, COLOUR), ("1",)),  # a map is no part to explain
        ([FEATURES, COLOUR], ("0", "1")),
        ({"colour": COLOUR, "shape": SHAPE}, ("colour", "shape")),
        ({"heads": {"colour": COLOUR, "shape": SHAPE}, "maps": MAPS}, ("heads.colour", "heads.shape")),
        ((MAPS, (COLOUR, SHAPE)), ("1.0", "1.1")),
        (Named(MAPS, COLOUR, SHAPE), ("colour", "shape")),
        (Slots(COLOUR, SHAPE), ("colour", "shape")),
        (SimpleNamespace(colour=COLOUR, shape=SHAPE, note="none"), ("colour", "shape")),
        ((COLOUR, COLOUR.argmax(1, keepdim=True)), ("0",)),  # indices are no logits
        ((COLOUR.softmax(1), COLOUR), ("1",)),  # one output, said in two ways
        (OrderedDict(out=COLOUR, logits=COLOUR), ("out",)),  # one tensor under two names
        ({"logits": COLOUR, "temperature": torch.ones(1), "other": tensor(3)[:1]}, ("logits",)),
    ],
)
def test_what_could_be_explained(answer: Any, outputs: tuple[str, ...]) -> None:
    assert parts(answer).outputs == outputs


@pytest.mark.parametrize(
    ("answer", "chosen", "way"),
    [
        ({"colour": COLOUR, "shape": SHAPE}, "shape", ("shape",)),
        ({"colour": COLOUR, "shape": SHAPE}, 1, ("shape",)),
        ({"colour": COLOUR, "shape": SHAPE}, "0", ("colour",)),
        ({"colour": COLOUR, "0": SHAPE}, "0", ("0",)),  # digits are a name before they are an index
        ({"colour": COLOUR, "0": SHAPE}, 0, ("colour",)),
        ({"heads": {"colour": COLOUR, "shape": SHAPE}}, "heads.shape", ("heads", "shape")),
        ({"heads": {"colour": COLOUR, "shape": SHAPE}}, "shape", ("heads", "shape")),
        ((MAPS, COLOUR, SHAPE), 2, (2,)),  # the place in the tuple
        ((MAPS, COLOUR, SHAPE), "1", (1,)),
        ((MAPS, COLOUR, SHAPE), -1, (2,)),
        ((MAPS, (COLOUR, SHAPE)), "1.1", (1, 1)),
        (Named(MAPS, COLOUR, SHAPE), 2, ("shape",)),
        (Slots(COLOUR, SHAPE), "shape", ("shape",)),
        ({"embedding": FEATURES, "logits": COLOUR}, "embedding", ("embedding",)),  # who asks for it gets it
        ({"scores": COLOUR.softmax(1), "raw": COLOUR}, "scores", ("raw",)),
    ],
)
def test_what_is_chosen_is_taken(answer: Any, chosen: str | int, way: tuple[str | int, ...]) -> None:
    assert parts(answer).choose(None, chosen).way == way


@pytest.mark.parametrize("chosen", ["hue", "colou", 2, "2", "9" * 5000, "", "heads", -3])
def test_a_choice_that_is_none_is_answered_with_all_there_are(chosen: str | int) -> None:
    with pytest.raises(UnknownName, match=r"Known: heads\.colour \(N, 7\), heads\.shape \(N, 4\)$"):
        parts({"heads": {"colour": COLOUR, "shape": SHAPE}}).choose(None, chosen)


def test_the_place_of_what_cannot_be_explained_is_no_choice() -> None:
    for chosen in (0, "0", 1, "1"):
        with pytest.raises(UnknownName, match=r"Known: 1\.0 \(N, 7\), 1\.1 \(N, 4\)$"):
            parts((MAPS, (COLOUR, SHAPE))).choose(None, chosen)


def test_one_end_of_two_ways_is_no_choice() -> None:
    with pytest.raises(UnknownName, match=r"'x'.* Known: a\.x \(N, 7\), b\.x \(N, 4\)$"):
        parts({"a": {"x": COLOUR}, "b": {"x": SHAPE}}).choose(None, "x")


def test_a_misspelt_name_is_answered_with_the_one_that_is_like_it() -> None:
    with pytest.raises(UnknownName, match="unknown output 'colur'; did you mean 'colour'"):
        parts({"colour": COLOUR, "shape": SHAPE}).choose(None, "colur")


def test_of_one_tensor_there_is_nothing_to_choose() -> None:
    with pytest.raises(
        OptionError, match="output 'logits': the network answers with a tensor, so there are no parts to choose"
    ):
        parts(COLOUR).choose(None, "logits")


@pytest.mark.parametrize(
    ("answer", "labels", "way"),
    [
        ((FEATURES, COLOUR), 7, (1,)),
        ({"output": FEATURES, "species": COLOUR}, 7, ("species",)),  # the number of labels before a name
        ({"features": FEATURES, "x": COLOUR}, None, ("x",)),
        ({"embedding": FEATURES, "logits_per_class": COLOUR}, None, ("logits_per_class",)),
        ({"head": COLOUR, "proj": SHAPE}, None, ("head",)),
        ({"class_token": FEATURES, "y": COLOUR}, None, ("y",)),
        ({"logits": COLOUR, "hidden_states": (MAPS, MAPS), "pooler_output": FEATURES}, None, ("logits",)),
        ({"pooled": COLOUR}, 7, ("pooled",)),  # who names its classes knows better
        (OrderedDict(out=COLOUR, aux=tensor(7) + 1), 7, ("out",)),
    ],
)
def test_labels_and_names_tell(answer: Any, labels: int | None, way: tuple[str | int, ...]) -> None:
    assert parts(answer).choose(labels).way == way


@pytest.mark.parametrize(
    ("answer", "labels", "said"),
    [
        ({"colour": COLOUR, "shape": SHAPE}, None, r"colour \(N, 7\), shape \(N, 4\)\. .* as in output=\"shape\""),
        ((FEATURES, COLOUR), None, r"0 \(N, 512\), 1 \(N, 7\)\. .* as in output=1"),
        ((FEATURES, COLOUR), 3, r"1 \(N, 7\) \(there are 3 labels, and no tensor has as many classes\)"),
        ({"heads": {"colour": COLOUR, "shape": SHAPE}}, None, r"heads\.colour \(N, 7\), heads\.shape \(N, 4\)"),
        ({"a_logits": COLOUR, "b_logits": SHAPE}, None, r"a_logits \(N, 7\), b_logits \(N, 4\)"),
        ({"a": COLOUR, "b": tensor(7) + 1}, 7, r"a \(N, 7\), b \(N, 7\)\."),
        ({"maps": MAPS}, None, r"no logits \(N, C\): maps \(N, 8, 4, 4\)$"),
        ({"embedding": FEATURES}, None, r"embedding \(N, 512\): features, not classes"),
    ],
)
def test_where_nothing_tells_all_are_listed(answer: Any, labels: int | None, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        parts(answer).choose(labels)


def test_scores_that_stand_beside_their_logits_say_what_scores_are() -> None:
    assert parts((COLOUR, COLOUR.sigmoid())).choose(None) == Part((0,), "sigmoid")
    assert parts((SHAPE, COLOUR.softmax(1), COLOUR)).choose(None, 2) == Part((2,), "softmax")
