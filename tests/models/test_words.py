"""Models of images and sentences: the library's own logits, other sentences at once, and what they do not take."""

import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from towers import SENTENCES, SIDE, saved, saved_open

import camserve
from camserve.catalogue.class_sentences import LONGEST_SENTENCE, MOST_SENTENCES
from camserve.config import load_settings
from camserve.errors import DeadlinePassed, ModelError, NotInstalled, OptionError, TooMuch, UnknownName
from camserve.graph.cosine_head import CosineHead
from camserve.models.architectures.zero_shot_input import stated_input
from camserve.system.kept import Kept

transformers = pytest.importorskip("transformers")

OTHERS = ("a dog", "a red car", "a well-known cat, and a dog", "no cat")
PICTURE = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """What transformers says of its own code."""
    transformers.utils.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    home = tmp_path_factory.mktemp("towers")
    return {kind: saved(kind, home / kind) for kind in ("clip", "siglip", "siglip2")}


@pytest.fixture(scope="module")
def models(folders: dict[str, Path]) -> dict[str, camserve.Model]:
    return {kind: camserve.load(f"clip:{folder}", labels=SENTENCES) for kind, folder in folders.items()}


def their_logits(folder: Path, sentences: tuple[str, ...], picture: Image.Image) -> tuple[Any, torch.Tensor]:
    """(what the processor makes of a picture, logits_per_image), by transformers alone."""
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    model, reads = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    padding = {"padding": True} if model.config.model_type == "clip" else {"padding": "max_length", "max_length": 16}
    tokens = reads(list(sentences), return_tensors="pt", **padding)
    tokens.pop("token_type_ids", None)
    seen = AutoImageProcessor.from_pretrained(folder)(picture, return_tensors="pt")
    with torch.no_grad():
        return seen, model(**seen, **tokens).logits_per_image


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_logits_are_those_of_the_library(
    kind: str, folders: dict[str, Path], models: dict[str, camserve.Model]
) -> None:
    picture = Image.fromarray(PICTURE).resize((SIDE, SIDE))
    seen, expected = their_logits(folders[kind], SENTENCES, picture)
    model, spec = models[kind], models[kind].card.input
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    images = (torch.from_numpy(np.array(picture)).permute(2, 0, 1) - mean)[None] / std
    if kind != "siglip2":  # which is given patches
        torch.testing.assert_close(images, seen["pixel_values"], atol=1e-5, rtol=0)
    assert spec.size == SIDE
    for answer in (model.module(images), model.layer().observe(images)[2], model.network.whole(images)):
        torch.testing.assert_close(answer, expected, atol=1e-4, rtol=0)
    assert float(expected.std()) > 0.01  # or they would be alike whatever was asked
    assert model.card.scores == ("softmax" if kind == "clip" else "sigmoid")
    scores = model.explain(np.array(picture)).scores
    own = expected.softmax(1) if kind == "clip" else expected.sigmoid()
    assert scores == pytest.approx(own[0].numpy(), abs=1e-4)


@pytest.mark.parametrize("kind", ["ViT", "RN"])
def test_open_clip_s_logits_are_its_own(kind: str, tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    folder = saved_open(kind, tmp_path / kind)
    theirs = open_clip.create_model(f"local-dir:{folder}").eval()
    images, reads = torch.randn(2, 3, SIDE, SIDE), open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.no_grad():
        feature, text, scale = theirs(images, reads(list(SENTENCES)))[:3]
        expected = scale * feature @ text.T
    by_name = camserve.load(f"clip:{folder}", labels=SENTENCES)
    by_module = camserve.load(theirs, labels=SENTENCES, tokenizer=reads)
    for model in (by_name, by_module):
        torch.testing.assert_close(model.layer().observe(images)[2], expected, atol=1e-4, rtol=0)
        assert isinstance(model.layer().head, CosineHead)
    with pytest.raises(ModelError, match=r"give its tokenizer, as in load\(model, labels=\[...\], tokenizer="):
        camserve.load(theirs, labels=SENTENCES)
    with pytest.raises(OptionError, match="is too long: this model reads 16 tokens"):
        by_name.explain(PICTURE, labels=["a cat " * 20])


@pytest.mark.parametrize("method", ["auto", "hirescam", "legrad", "attentionrollout", "occlusion", "finercam"])
@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_other_sentences_are_as_if_it_had_been_loaded_with_them(
    kind: str, method: str, folders: dict[str, Path], models: dict[str, camserve.Model]
) -> None:
    again = camserve.load(f"clip:{folders[kind]}", labels=OTHERS)
    asked, expected = models[kind].explain(PICTURE, labels=OTHERS, method=method), again.explain(PICTURE, method=method)
    assert (asked.labels, asked.target, asked.method) == (expected.labels, expected.target, expected.method)
    assert asked.logits == pytest.approx(expected.logits, abs=1e-5)
    np.testing.assert_allclose(asked.map, expected.map, atol=1e-5)
    assert np.ptp(asked.map) > 0
    assert models[kind].labels == SENTENCES  # which it keeps
    if method not in ("attentionrollout",):
        other = models[kind].explain(PICTURE, labels=OTHERS, method=method, target=OTHERS[1 - asked.class_index])
        assert not np.allclose(other.map, asked.map, atol=1e-6)


def test_gradients_hold_the_length_of_the_feature(models: dict[str, camserve.Model]) -> None:
    """Grad-CAM of the class's logit against autograd through the whole network with that length made a number."""
    model = models["clip"]
    layer, images = model.layer(), torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    activations, carried, _ = layer.observe(images)
    leaf = activations.clone().requires_grad_()
    assert isinstance(layer.head, CosineHead)
    feature = layer.head.feature.module(leaf, *carried)
    held = feature / feature.norm().detach() @ model.module.sentences.T
    (expected,) = torch.autograd.grad(held[0, 1], leaf)
    torch.testing.assert_close(layer.head.gradients(activations, lambda logits: logits[:, 1], carried), expected)


def test_a_sentence_is_set_against_the_others_by_default(models: dict[str, camserve.Model]) -> None:
    model = models["clip"]
    made = model.explain(PICTURE, labels=OTHERS, target=OTHERS[0])
    assert made.target.quantity == "contrast"
    assert made.value == pytest.approx(made.logits[0] - made.logits[1:].mean(), abs=1e-5)
    own = [model.explain(PICTURE, labels=OTHERS, target=one, quantity="logit").map for one in OTHERS]
    np.testing.assert_allclose(made.map, own[0] - np.mean(own[1:], axis=0), atol=1e-6)
    alone = model.explain(PICTURE, labels=["a cat"])
    np.testing.assert_allclose(alone.map, model.explain(PICTURE, labels=["a cat"], quantity="logit").map)
    difference = model.explain(PICTURE, labels=OTHERS, target="a well-known cat, and a dog - a red car")
    assert (difference.target.index, difference.target.against) == (2, 1)
    assert difference.value == pytest.approx(difference.logits[2] - difference.logits[1], abs=1e-5)
    with pytest.raises(UnknownName, match="unknown class 'a red cat'; did you mean 'a red car'"):
        model.explain(PICTURE, labels=OTHERS, target="a red cat")


def test_templates_are_averaged_as_directions(folders: dict[str, Path]) -> None:
    from transformers import AutoModel, AutoTokenizer

    templates = ["a photo of {}", "a drawing of {} and {}"]
    model = camserve.load(f"clip:{folders['clip']}", labels=SENTENCES, templates=templates)
    theirs, reads = AutoModel.from_pretrained(folders["clip"]), AutoTokenizer.from_pretrained(folders["clip"])

    def feature(text: str) -> torch.Tensor:
        with torch.no_grad():
            tokens = reads([text], return_tensors="pt")
            return F.normalize(theirs.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output)

    for row, sentence in zip(model.module.get_buffer("sentences"), SENTENCES, strict=True):
        both = feature(f"a photo of {sentence}") + feature(f"a drawing of {sentence} and {sentence}")
        torch.testing.assert_close(row[None], theirs.logit_scale.exp() * F.normalize(both), rtol=1e-4, atol=1e-5)
    assert model.card.zero_shot is not None
    assert model.card.zero_shot.templates == tuple(templates)
    with pytest.raises(OptionError, match=r"template 'a photo' is not a prompt with \{\} in it"):
        camserve.load(f"clip:{folders['clip']}", labels=SENTENCES, templates=["a photo"])


def test_a_module_takes_sentences_where_its_tokeniser_is_known(folders: dict[str, Path]) -> None:
    from towers import clip, tokenizer
    from transformers import CLIPModel

    from_folder = camserve.load(CLIPModel.from_pretrained(folders["clip"]), labels=SENTENCES)
    made = clip()
    given = camserve.load(made, labels=SENTENCES, tokenizer=tokenizer())
    named = camserve.load(f"clip:{folders['clip']}", labels=SENTENCES)
    for model in (from_folder, given):
        assert model.explain(PICTURE).logits == pytest.approx(named.explain(PICTURE).logits, abs=1e-4)
    with pytest.raises(ModelError, match="'CLIPModel' compares images with sentences: give its classes as sentences"):
        camserve.load(made)
    with pytest.raises(ModelError, match=r"there is no tokenizer to read them .*: give it, as in load\(model, labels"):
        camserve.load(made, labels=SENTENCES)


def test_a_card_says_sentences_and_templates(folders: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    card = tmp_path / "pets" / "card.toml"
    text = (
        f'architecture = "clip:{folders["clip"]}"\n[zero_shot]\nlabels = ["a cat", "a dog"]\ntemplates = ["a {{}}"]\n'
    )
    card.write_text(text)
    settings = load_settings(overrides={"models": {"shared": [str(folders["clip"].parent)]}})
    model = camserve.load(card, settings=settings)
    assert model.labels == ("a cat", "a dog")
    own = camserve.load(f"clip:{folders['clip']}", labels=["a cat", "a dog"], templates=["a {}"])
    assert model.explain(PICTURE).logits == pytest.approx(own.explain(PICTURE).logits, abs=1e-5)
    card.write_text(text.replace('"a {}"', '"a"'))
    with pytest.raises(ModelError, match="card.toml' is wrong: template 'a' is not a prompt"):
        camserve.load(card, settings=settings)


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        ([], OptionError, "there are no sentences"),
        (["a cat", ""], OptionError, "is not a sentence"),
        (["a cat", "a cat"], OptionError, "'a cat' was given twice"),
        (["a cat " * 20], OptionError, "is too long: this model reads 16 tokens"),
        (["x" * (LONGEST_SENTENCE + 1)], TooMuch, f"allowed are {LONGEST_SENTENCE}"),
        ([f"cat {place}" for place in range(MOST_SENTENCES + 1)], TooMuch, f"allowed are {MOST_SENTENCES} sentences"),
    ],
)
def test_sentences_that_are_none_are_refused(
    labels: list[str], error: type[Exception], said: str, models: dict[str, camserve.Model]
) -> None:
    with pytest.raises(error, match=said):
        models["clip"].explain(PICTURE, labels=labels)


def test_a_model_with_classes_of_its_own_takes_no_sentences() -> None:
    with pytest.raises(OptionError, match="the classes of 'efficientnet-lite0' are fixed; only a model that compares"):
        camserve.load().explain(PICTURE, labels="a cat; a dog")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("clip:./nowhere", "names no folder, and the local hub cache has no './nowhere'; camserve downloads nothing"),
        ("clip:openai/clip-vit-base-patch32", "camserve downloads nothing"),
        ("clip:{empty}", "holds no CLIP-like model"),
    ],
)
def test_what_is_no_such_model_is_said(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        camserve.load(name.format(empty=tmp_path), labels=SENTENCES)


def test_without_the_package_the_command_is_said(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(NotInstalled, match=r"needs transformers.*pip install 'camserve\[clip\]'"):
        camserve.load(f"clip:{folders['clip']}", labels=SENTENCES)


def test_threads_with_sentences_of_their_own_get_their_own_answers(models: dict[str, camserve.Model]) -> None:
    model = models["clip"]
    asked = [[f"a {noun}", "the car"] for noun in ("cat", "dog", "car", "photo", "drawing", "blue cat", "red dog")] * 3
    expected = [model.explain(PICTURE, labels=labels).map for labels in asked[:7]] * 3
    found: list[Any] = [None] * len(asked)

    def run(place: int) -> None:
        found[place] = model.explain(PICTURE, labels=asked[place]).map

    model._worded = Kept(16)
    model.words._kept.clear()
    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-6)


def test_what_is_kept_of_sentences_is_bounded(
    models: dict[str, camserve.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    from camserve.models.architectures import zero_shot

    monkeypatch.setattr(zero_shot, "_KEPT", 5)
    model = models["clip"]
    for place in range(20):
        model.of_labels([f"a cat {place}", f"a dog {place}"])
    assert model.words is not None
    assert len(model.words._kept) == 5
    assert len(model._worded) == 16
    with pytest.raises(DeadlinePassed):
        model.of_labels([f"a car {place}" for place in range(99)], deadline=0)


def test_the_input_is_read_from_the_processor_s_file(folders: dict[str, Path], tmp_path: Path) -> None:
    from transformers import CLIPConfig

    vision = CLIPConfig().vision_config
    read = stated_input(folders["clip"], vision)
    assert (read["size"], read["resample"]) == ((SIDE, SIDE), "bicubic")
    assert read["mean"] == pytest.approx((122.771, 116.746, 104.094), abs=1e-3)
    assert read["std"] == pytest.approx((68.5005, 66.6322, 70.3232), abs=1e-3)
    known = stated_input(None, vision)
    assert (known["size"], known["crop"]) == (224, 1.0)
    assert known["mean"] == pytest.approx((122.771, 116.746, 104.094), abs=1e-3)
