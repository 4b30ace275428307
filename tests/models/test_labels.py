"""Class names from lists and dicts, and what an unknown one is answered with."""

import pickle
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import camserve
from camserve.catalogue.class_names import names_like, resolve_class
from camserve.config import shipped
from camserve.errors import ModelError, OptionError, UnknownName
from camserve.models.card import read_card
from camserve.models.describing import names_of
from camserve.models.labels import names_in_order, with_wnids
from camserve.onboarding.new_card import card_text


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["cat", "dog"], ("cat", "dog")),
        (np.array(["cat", "dog"]), ("cat", "dog")),
        ({0: "cat", 1: "dog"}, ("cat", "dog")),
        ({1: "dog", 0: "cat"}, ("cat", "dog")),
        ({"1": "dog", "0": "cat"}, ("cat", "dog")),
        ({"dog": 1, "cat": 0}, ("cat", "dog")),
        (OrderedDict({np.str_("dog"): np.int64(1), "cat": np.int64(0)}), ("cat", "dog")),
        ({0: "crane", 1: "cat", 2: "crane"}, ("crane", "cat", "crane")),
        ({"10": 1, "8": 0}, ("8", "10")),  # names of digits
        ({"0": "10", "1": "8"}, ("10", "8")),
        ({str(place): f"n{place}" for place in sorted(range(12), key=str)}, tuple(f"n{place}" for place in range(12))),
        (range(3), ("0", "1", "2")),
        ({0: "cat", 1: "dog"}.values(), ("cat", "dog")),
        ({}, ()),
    ],
)
def test_names_are_in_the_order_of_the_logits(labels: Any, names: tuple[str, ...]) -> None:
    assert names_in_order(labels) == names


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({0: "cat", 2: "dog"}, "the indices of 2 names must be 0 to 1, each once; there is no name for 1, not in the"),
        ({1: "cat", 2: "dog"}, "there is no name for 0, not in the range: 2$"),
        ({"cat": -1, "dog": 0}, "there is no name for 1, not in the range: -1$"),
        ({"cat": 0, "dog": 0}, "there is more than one name for 0, no name for 1$"),
        ({0: "cat", "0": "dog"}, "more than one name for 0, no name for 1$"),
        (dict.fromkeys(range(50, 100), "x"), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 40 more, not in the range: 50"),
        ({"cat": "feline"}, "the dict begins with 'cat': 'feline'; allowed are index to name"),
        ({0: 1}, "the dict begins with 0: 1;"),
        ({0: "cat", "dog": 1}, "the same for all entries"),
        ({"0": ["n01440764", "tench"]}, r"begins with '0': \['n01440764', 'tench'\]; allowed"),
        ({"cat": True, "dog": False}, "the dict begins with 'cat': True"),
        ({"cat", "dog"}, "have no order; give a list"),
        (3, "labels 3 have no order; give a list"),
        (["cat", None], "None is not a class name; give text"),
    ],
)
def test_what_names_no_classes_is_said(labels: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        names_in_order(labels)


def net() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize("labels", [{2: "c", 0: "a", 1: "b"}, {"c": 2, "a": 0, "b": 1}])
def test_a_model_takes_a_dict_of_names(labels: dict[Any, Any]) -> None:
    model = camserve.load(net(), labels=labels, size=32)
    assert model.labels == ("a", "b", "c")


def test_a_model_says_what_is_wrong_with_a_dict() -> None:
    with pytest.raises(ModelError, match="there is no name for 0, not in the range: 3"):
        camserve.load(net(), labels={1: "a", 2: "b", 3: "c"}, size=32)
    with pytest.raises(ModelError, match="'Sequential' has 3 classes, but 2 labels were given"):
        camserve.load(net(), labels={0: "a", 1: "b"}, size=32)


IMAGENET = names_of("imagenet") or ()
ANIMALS = ("crate", "oxcart", "castle", "Egyptian cat", "tiger cat", "cattle", "black-and-tan coonhound", "tiger")


@pytest.mark.parametrize(
    ("asked", "hint"),
    [
        ("cat", "did you mean 'tiger cat' or 'Egyptian cat'? Known"),
        ("CAT tiger", "did you mean 'tiger cat'? Known"),
        ("black and", "did you mean 'black-and-tan coonhound'? Known"),
        ("tiger_cat", "did you mean 'tiger cat'? Known"),
        ("hound", "did you mean 'black-and-tan coonhound'? Known"),  # a word ends so
        ("tig", "did you mean 'tiger' or 'tiger cat'? Known"),
        ("catl", "did you mean 'cattle' or 'castle'? Known"),  # no label has that word, so the likest
        ("coonhuond", "did you mean 'black-and-tan coonhound'? Known"),  # nor of that length, so by words
        ("---", "'---'. Known: crate"),
    ],
)
def test_an_unknown_class_is_answered_with_names_that_have_its_words(asked: str, hint: str) -> None:
    with pytest.raises(UnknownName) as caught:
        resolve_class(asked, ANIMALS)
    assert hint in str(caught.value)


@pytest.mark.parametrize("labels", [("crate", "oxcart", "castle"), ("crate", "oxcart", "castle", *"abcdefghi")])
def test_what_shares_only_letters_is_not_offered(labels: Sequence[str]) -> None:
    assert names_like("cat", labels) == []


def test_few_classes_are_listed_and_many_are_counted() -> None:
    few, many = ("a", "b", "c"), tuple(f"thing {place}" for place in range(40))
    with pytest.raises(UnknownName, match="^unknown class 'cat'. Known: a, b, c$"):
        resolve_class("cat", few)
    with pytest.raises(UnknownName, match="^unknown class 'cat'. The model has 40 classes; an index, 0 to 39, is a na"):
        resolve_class("cat", many)


def test_at_most_eight_names_the_shortest_first() -> None:
    names = [f"{'x' * length} cat" for length in range(20, 0, -1)]
    assert names_like("cat", [*names, names[0]]) == names[::-1]
    with pytest.raises(UnknownName) as caught:
        resolve_class("cat", names)
    assert f"'xxxxxxx cat', '{'x' * 8} cat' and 12 more? The model has 20 classes" in str(caught.value)
    assert "x" * 9 not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("cat", ["tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"]),
        ("retreiver", ["golden retriever", "Labrador retriever", "flat-coated retriever", "curly-coated retriever"]),
        ("wire haired fox terier", ["wire-haired fox terrier"]),
    ],
)
def test_imagenet_s_near_misses(asked: str, offered: list[str]) -> None:
    assert set(offered) <= set(names_like(asked, with_wnids(IMAGENET)))
    assert all(word in name for name in names_like(asked, IMAGENET) for word in offered[0].split()[-1:])


@pytest.mark.parametrize("quantity", ["logit", "log-softmax"])
def test_a_difference_is_reported_with_its_own_value(quantity: str) -> None:
    torch.manual_seed(0)
    model, image = camserve.load(net(), labels=["a", "b", "c"], size=32), np.full((32, 32, 3), 90, np.uint8)
    made = model.explain(image, target="c-a", quantity=quantity)
    assert made.value == pytest.approx(float(made.logits[2] - made.logits[0]), abs=1e-6)
    assert made.in_short == f"c - a: {made.value:.2f}" + (" logits" if quantity == "logit" else "")
    assert (made.score, made.to_dict()["score"], made.to_dict()["logit"]) == (None, None, made.logits[2])
    assert made.answer_of(2).score == made.scores[2]
    assert made.to_dict()["target"] == {"name": "c - a", "quantity": quantity, "value": made.value}
    alone = model.explain(image, target="c", quantity=quantity)
    assert alone.in_short == f"c {alone.score:.2f}"
    against = model.explain(image, target="-c")
    assert (against.value, against.in_short) == (-alone.logit, f"against c: {-alone.logit:.2f} logits")
    assert against.score is None


def test_a_function_has_no_value_and_is_not_run_for_one() -> None:
    calls = []

    def second(logits: torch.Tensor) -> torch.Tensor:
        calls.append(logits)
        return logits[:, 1]

    made = camserve.load(net(), size=32).explain(np.zeros((32, 32, 3), np.uint8), target=second)
    before = len(calls)
    assert (made.value, made.in_short, made.to_dict()["target"]["value"]) == (None, "second", None)
    assert made.score is None
    assert len(calls) == before > 0


def test_wnids_are_in_the_order_of_imagenet_s_names() -> None:
    wnids = (shipped("models") / "imagenet_wnids.txt").read_text().split()
    assert len(set(wnids)) == 1000 and wnids == sorted(wnids)
    known = {0: "n01440764", 134: "n02012849", 281: "n02123045", 639: "n03710721", 967: "n07920052", 999: "n15075141"}
    assert {place: wnids[place] for place in known} == known
    assert [IMAGENET[place] for place in known][:3] == ["tench", "crane bird", "tabby"]


@pytest.mark.parametrize("change", ["{name}", "{name}, or another word", "{name}{some}"])
def test_a_wnid_is_a_name_where_the_labels_are_imagenet_s(change: str) -> None:
    labels = [change.format(name=name, some="!" if place % 40 == 7 else "") for place, name in enumerate(IMAGENET)]
    names = with_wnids(labels)
    assert list(names) == labels
    assert [resolve_class(wnid, names) for wnid in ("n02123045", "N15075141")] == [281, 999]
    assert resolve_class("n02123045", pickle.loads(pickle.dumps(names))) == 281


@pytest.mark.parametrize("labels", [IMAGENET[:999], IMAGENET[::-1], [f"class {place}" for place in range(1000)]])
def test_a_wnid_is_no_name_of_other_labels(labels: Sequence[str]) -> None:
    with pytest.raises(UnknownName, match="unknown class 'n02123045'"):
        resolve_class("n02123045", with_wnids(labels))


def test_a_wnid_is_a_target(model: camserve.Model) -> None:
    image = np.full((64, 64, 3), 90, np.uint8)
    tabby, difference = model.explain_classes(image, ["n02123045", "n02123159-n02123045"])
    assert (tabby.class_name, difference.target.name) == ("tabby", "tiger cat - tabby")


def test_one_class_may_have_several_names() -> None:
    model = camserve.load(net(), labels=[["couch", "sofa"], "cat", ("dog", "hound", "Sofa bed")], size=32)
    assert model.labels == ("couch", "cat", "dog")
    image = np.full((32, 32, 3), 90, np.uint8)
    for name, shown in {"sofa": "couch", "SOFA": "couch", "hound": "dog", "sofa bed": "dog", "couch": "couch"}.items():
        assert model.explain(image, target=name).class_name == shown
    assert model.explain(image, target="sofa-hound").target.name == "couch - dog"
    with pytest.raises(
        UnknownName, match="unknown class 'hund'; did you mean 'hound'? Known: couch, cat, dog$".replace("?", r"\?")
    ):
        model.explain(image, target="hund")
    assert camserve.load(net(), labels=["tench, Tinca tinca", "a", "b"], size=32).labels[0] == "tench, Tinca tinca"


def test_a_name_that_several_classes_have_besides_is_said() -> None:
    names = names_in_order([["crane", "bird"], ["derrick", "crane"], ["lift", "hoist"], ["winch", "hoist"]])
    assert resolve_class("crane", names) == 0  # what is shown comes first
    with pytest.raises(OptionError, match="class 'hoist' is the name of 2 classes, 2, 3"):
        resolve_class("hoist", names)
    with pytest.raises(ModelError, match=r"\[\] is not a class name"):
        names_in_order(["a", []])


def test_what_has_id2label_is_as_good_as_that() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.PretrainedConfig(id2label={"1": "dog", "0": "cat"}, label2id={"dog": 1, "cat": 0})
    assert names_in_order(config) == names_in_order(config.id2label) == ("cat", "dog")
    assert names_in_order(config.label2id) == ("cat", "dog")


def test_aliases_are_names_too(tmp_path: Path) -> None:
    model = camserve.load(net(), labels=["tabby", "dog", "fox"], aliases={"moggy": "tabby", "Hound": "dog"}, size=32)
    image = np.full((32, 32, 3), 90, np.uint8)
    made = model.explain_classes(image, ["moggy", "hound-moggy", "tabby"], expected="MOGGY")
    assert [one.target.name for one in made] == ["tabby", "dog - tabby", "tabby"]
    assert made[0].expected == 0
    with pytest.raises(ModelError, match="the alias 'moggy': unknown class 'taby'; did you mean 'tabby'"):
        camserve.load(net(), labels=["tabby", "dog", "fox"], aliases={"moggy": "taby"}, size=32)
    with pytest.raises(ModelError, match="the alias 'dog' of 'fox' is the name of a class already; leave it out"):
        camserve.load(net(), labels=["tabby", "dog", "fox"], aliases={"dog": "fox"}, size=32)


def test_a_card_has_aliases_and_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), "
        "nn.Flatten(), nn.Linear(4, 2))\n"
    )
    (tmp_path / "labels.txt").write_text("tabby\ndog\n")
    text = 'architecture = "./net.py:net"\nlabels = "labels.txt"\n[aliases]\nmoggy = "tabby"\n"my dog" = "dog"\n'
    (tmp_path / "card.toml").write_text(text + "[input]\nsize = 32\n")
    model = camserve.load(tmp_path)
    assert [resolve_class(name, model.labels) for name in ("moggy", "my dog", "dog")] == [0, 1, 1]
    (tmp_path / "card.toml").write_text(card_text(model.card))
    assert read_card(tmp_path / "card.toml").aliases == {"moggy": "tabby", "my dog": "dog"}


def test_a_name_is_no_long_text(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(f"cat\n{'x' * 1001}\n")
    for labels in (["cat", "x" * 1001], {0: "cat", 1: "x" * 1001}, tmp_path / "labels.txt"):
        with pytest.raises(ModelError, match=r"class 1 is called 'x+'?\.\.\. \(1001 characters\); allowed are 1000"):
            names_of(labels)
    assert names_of(["x" * 1000])
