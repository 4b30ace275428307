"""Models of transformers, as folders and as modules: what they bring along, and what is said of those that are none."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import camserve
from camserve.cli import main
from camserve.errors import CamserveError, ModelError, NotInstalled, OptionError
from camserve.images.reading import Photo
from camserve.models.card_input import Input
from camserve.models.inputs.preprocessing import to_input

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries
transformers = pytest.importorskip("transformers")
data = pytest.importorskip("skimage.data")
NAMES = ("tabby", "hen", "otter")
SIDE = 64
# Arrays of photographs: wide, grey and square, high, smaller than the input.
PICTURES: list[Callable[[], Any]] = [
    data.chelsea, lambda: np.repeat(data.camera()[..., None], 3, 2), lambda: data.coffee().transpose(1, 0, 2).copy(),
    lambda: data.astronaut()[:50, 100:160],
]  # fmt: skip
PROCESSORS = (
    "Beit", "Bit", "CLIP", "ConvNext", "DeiT", "EfficientNet", "Levit", "MobileNetV1", "MobileNetV2", "MobileViT",
    "PPLCNet", "Perceiver", "PoolFormer", "Pvt", "Segformer", "Siglip", "TextNet", "ViT",
)  # fmt: skip
SMALL_DONUT = {"size": {"height": 80, "width": 60}}


def vit(**config: Any) -> nn.Module:
    torch.manual_seed(0)
    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: i for i, name in enumerate(NAMES)}}
    made = transformers.ViTConfig(
        image_size=SIDE, patch_size=16, initializer_range=0.4, **options, **{**names, **config}
    )
    return transformers.ViTForImageClassification(made).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that save_pretrained wrote, with its processor."""
    folder = tmp_path_factory.mktemp("models") / "finch"
    vit().save_pretrained(folder)
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(saved, tmp_path / "finch"))


def pipeline_logits(folder: Path, values: Any) -> Any:
    pipe = transformers.pipeline("image-classification", model=str(folder))
    with torch.no_grad():
        return pipe.model(**pipe.preprocess(Image.fromarray(values))).logits[0].numpy()


def said(source: str | Path, **options: Any) -> str:
    with pytest.raises(CamserveError) as caught:
        camserve.load(f"hf:{source}", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_logits_are_the_pipeline_s(saved: Path) -> None:
    model = camserve.load(f"hf:{saved}")
    assert tuple(model.labels) == NAMES
    assert model.name == "finch"
    for make in PICTURES:
        values = make()
        own = model.explain(values, size="crop").logits
        assert own == pytest.approx(pipeline_logits(saved, values), abs=1e-4)
        assert model.explain(values).own_logits is None  # the same frame, so the same answer


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in PROCESSORS),
        ("ConvNext", {"size": {"shortest_edge": 96}}),
        ("EfficientNet", {"rescale_offset": True, "do_center_crop": True}),
        ("EfficientNet", {"include_top": False}),
        ("Donut", SMALL_DONUT),
        ("ViT", {"size": {"shortest_edge": 50}, "resample": 1}),
        ("Bit", {"do_resize": False}),
        ("Pvt", {"do_normalize": False}),
        ("ViT", {"do_rescale": True, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3}),
    ],
)
def test_pixels_are_the_processor_s(name: str, options: dict[str, Any]) -> None:
    from camserve.models.architectures.processor_files import input_of

    processor = getattr(transformers, f"{name}ImageProcessor")(**options)
    spec = Input(**input_of(processor, Path("finch")))
    for make in PICTURES:
        photo = Photo(make(), "picture", "array")
        own = to_input(photo, spec.evaluation(photo.size), spec)
        assert torch.allclose(own, processor(images=photo.image, return_tensors="pt")["pixel_values"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("ViT", {"resample": 0}, "resample = 0"),
        ("Siglip2", {}, "max_num_patches = 256"),
        ("Donut", {**SMALL_DONUT, "do_align_long_axis": True}, "do_align_long_axis = True"),
        ("ViT", {"size": {"shortest_edge": 60, "longest_edge": 80}}, "'longest_edge': 80"),
    ],
)
def test_a_processor_that_no_card_describes_is_refused(
    folder: Path, name: str, options: dict[str, Any], key: str
) -> None:
    getattr(transformers, f"{name}ImageProcessor")(**options).save_pretrained(folder)
    assert key in said(folder)
    assert "state the input yourself: size=, mean=" in said(folder)
    stated = camserve.load(f"hf:{folder}", size=SIDE, mean=127.5, std=127.5).card.input
    assert stated == Input(size=SIDE, mean=(127.5,) * 3, std=(127.5,) * 3)


def test_what_is_stated_counts(saved: Path, folder: Path) -> None:
    model = camserve.load(f"hf:{saved}", labels=["a", "b", "c"], scores="sigmoid", crop=0.9)
    assert tuple(model.labels) == ("a", "b", "c")
    assert (model.card.scores, model.card.input.resize, model.card.input.crop) == ("sigmoid", None, 0.9)
    transformers.DeiTImageProcessor(size={"height": 80, "width": 80}, crop_size=SIDE).save_pretrained(folder)
    spec = camserve.load(f"hf:{folder}", size=(64, 64)).card.input
    assert spec.resize is not None
    assert spec.resize.sides == 80


@pytest.mark.parametrize(("kind", "scores"), [("multi_label_classification", "sigmoid"), ("regression", "none")])
def test_scores_are_of_the_kind_of_problem(tmp_path: Path, kind: str, scores: str) -> None:
    module = vit(problem_type=kind)
    module.save_pretrained(tmp_path)
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path)
    assert camserve.load(f"hf:{tmp_path}").card.scores == camserve.load(module).card.scores == scores
    assert camserve.load(module, scores="softmax").card.scores == "softmax"


def test_shards_and_pickles_of_weights(saved: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    module = transformers.ViTForImageClassification.from_pretrained(saved)
    module.save_pretrained(tmp_path, max_shard_size="20KB")
    for name in ("preprocessor_config.json",):
        shutil.copy(saved / name, tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    values = data.chelsea()
    expected = pipeline_logits(saved, values)
    assert camserve.load(f"hf:{tmp_path}").explain(values, size="crop").logits == pytest.approx(expected, abs=1e-5)
    gone = sorted(tmp_path.glob("model-0000*.safetensors"))[1]
    gone.unlink()
    assert f"files of its weights: {gone.name}" in said(tmp_path)
    for file in tmp_path.glob("model*"):
        file.unlink()
    torch.save(load_file(saved / "model.safetensors"), tmp_path / "pytorch_model.bin")
    assert camserve.load(f"hf:{tmp_path}").explain(values, size="crop").logits == pytest.approx(expected, abs=1e-5)


class Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_nothing_in_a_folder_is_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"x": Harm()}))
    assert "cannot be read" in said(folder)
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "finch", "auto_map": {"AutoConfig": "finch.FinchConfig"}}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "finch.py").write_text("import os; os.mkdir('harm')")
    assert "its code is in the folder (auto_map), and camserve runs no code of a folder" in said(folder)
    assert not (folder / "harm").exists()


def test_what_is_no_image_classifier(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())

    def with_config(**changes: Any) -> str:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        return said(folder)

    assert "is a BertForSequenceClassification and no image classifier" in with_config(
        model_type="bert", architectures=["BertForSequenceClassification"]
    )
    assert f"compares pictures with words: use clip:{folder}" in with_config(
        model_type="clip", architectures=["CLIPModel"], text_config={}, vision_config={}
    )
    assert "quantised weights (quantization_config)" in with_config(quantization_config={"bits": 4})
    (folder / "config.json").write_text(json.dumps(config))
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert f"the weights of '{folder}' cannot be read" in said(folder)
    (folder / "model.safetensors").unlink()
    assert "has no weights; allowed are model.safetensors, pytorch_model.bin" in said(folder)
    (folder / "config.json").write_text("{")
    assert "cannot read" in said(folder)
    (folder / "config.json").unlink()
    assert "has no config.json" in said(folder)
    assert "there is no folder '/none/such'" in said("/none/such")


def test_a_network_without_its_head_is_refused(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    assert "no weights for 2 parts of its ViTForImageClassification, such as 'classifier.bias'" in said(folder)


def test_the_library_that_is_missing_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(NotInstalled, match=r'pip install "camserve\[hf\]"'):
        camserve.load(f"hf:{saved}")


def in_cache(folder: Path, cache: Path, repository: str, commit: str = "0123abc") -> None:
    """As the hub keeps a repository of these files."""
    place = cache / f"models--{repository.replace('/', '--')}"
    shutil.copytree(folder, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)


def test_the_hub_s_cache(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert "nothing is downloaded unless you ask for it: download=True" in said("birds/finch")
    in_cache(saved, tmp_path / "hub", "birds/finch")
    for name in ("birds/finch", "birds/finch@0123abc"):
        assert tuple(camserve.load(f"hf:{name}").labels) == NAMES
    assert camserve.load("hf:birds/finch", download=True).name == "finch"  # no request: it is there
    assert "neither a folder nor in the local cache" in said("birds/finch@other")


def test_a_request_is_made_only_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def snapshot(repository: str, **_options: Any) -> str:
        asked.append(repository)
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    said("birds/finch")
    assert asked == []
    assert "cannot download 'birds/finch': ConnectionError: no network" in said("birds/finch", download=True)
    image = str(tmp_path / "cat.png")
    Image.fromarray(data.chelsea()).save(image)
    answer = CliRunner().invoke(main, ["explain", image, "--model", "hf:birds/finch", "--download"])
    assert (answer.exit_code, asked) == (1, ["birds/finch"] * 2)
    with pytest.raises(OptionError, match="nothing to download for 'efficientnet-lite0'"):
        camserve.load("efficientnet-lite0", download=True)


def test_a_module_brings_along_what_its_folder_states(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = transformers.AutoModelForImageClassification.from_pretrained(saved)
    model = camserve.load(module)
    assert tuple(model.labels) == NAMES
    assert not caplog.records
    assert model.card.input == camserve.load(f"hf:{saved}").card.input
    guessed = camserve.load(vit())
    assert guessed.card.input == Input(size=SIDE)
    assert "the input is a guess, since this ViTConfig names no folder" in caplog.text
    unnamed = camserve.load(vit(id2label={0: "LABEL_0", 1: "LABEL_1"}, label2id={}), mean=1, std=2)
    assert tuple(unnamed.labels) == ("class 0", "class 1")


def test_names_are_of_the_logits_where_a_network_has_several_outputs() -> None:
    options = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.DeiTConfig(image_size=SIDE, id2label=dict(enumerate(NAMES)), **options)
    model = camserve.load(transformers.DeiTForImageClassificationWithTeacher(config))
    assert (model.output, tuple(model.labels)) == ("logits", NAMES)
    config = transformers.PvtConfig(image_size=SIDE)  # names no classes at all
    assert camserve.load(transformers.PvtForImageClassification(config)).labels[0] == "class 0"


def test_timm_s_networks_bring_theirs_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    from timm.models import save_for_hf

    torch.manual_seed(0)
    module = timm.create_model("resnet10t", num_classes=3).eval()
    spec = camserve.load(module).card.input
    own = timm.data.create_transform(**timm.data.resolve_model_data_config(module))
    for make in PICTURES:
        photo = Photo(make(), "picture", "array")
        made = to_input(photo, spec.evaluation(photo.size), spec)[0]
        assert torch.allclose(made, own(photo.image), atol=1e-5)
    save_for_hf(module, str(tmp_path / "timm"), model_config={"label_names": list(NAMES)})
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    in_cache(tmp_path / "timm", tmp_path / "hub", "birds/finch")
    values = data.chelsea()
    with torch.no_grad():
        expected = module(own(Image.fromarray(values))[None])[0].numpy()
    for name in ("timm:hf-hub:birds/finch", "hf:birds/finch", f"hf:{tmp_path / 'timm'}"):
        model = camserve.load(name)
        assert tuple(model.labels) == NAMES
        assert model.explain(values, size="crop").logits == pytest.approx(expected, abs=1e-4)


def test_torchvision_s_weights_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told by the hash in their name, so this file is given another name of theirs."""
    from torchvision import models

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = models.SqueezeNet1_1_Weights.DEFAULT
    file = Path(torch.hub.get_dir(), "checkpoints", weights.url.rpartition("/")[2])
    file.parent.mkdir(parents=True)
    torch.save(models.squeezenet1_1().state_dict(), file)
    found = camserve.load("torchvision:squeezenet1_1", weights="DEFAULT")
    assert found.labels[0] == "class 0"  # another file of that name has other classes
    monkeypatch.setattr("camserve.models.assembling.check_sha256", lambda *_: f"{file.stem.rpartition('-')[2]}00")
    known = camserve.load("torchvision:squeezenet1_1", weights="IMAGENET1K_V1")
    assert list(known.labels) == weights.meta["categories"]
    assert known.card.input.crop == 224 / 256
    folder = tmp_path / "cards"
    added = CliRunner().invoke(main, ["add", "DEFAULT", "-a", "torchvision:squeezenet1_1", "--folder", str(folder)])
    assert added.exit_code == 0, added.output
    assert (folder / "squeezenet1_1" / file.name).exists()


def test_a_folder_is_added_as_a_card(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    in_cache(saved, tmp_path / "hub", "birds/finch")
    expected = pipeline_logits(saved, data.coffee())
    for source, name, architecture in (
        (f"hf:{saved}", "finch", "hf:."),
        ("hf:birds/finch", "kept", "hf:birds/finch@0123abc"),
        (f"hf:{tmp_path / 'cards' / 'finch'}", "beside", "hf:../finch"),
    ):
        command = ["add", source, "--name", name, "--folder", str(tmp_path / "cards"), "--scores", "sigmoid", "--json"]
        answer = CliRunner().invoke(main, command)
        assert answer.exit_code == 0, answer.output
        model = camserve.load(json.loads(answer.stdout)["model"])
        assert (model.card.architecture, model.card.scores) == (architecture, "sigmoid")
        assert tuple(model.labels) == NAMES
        assert model.explain(data.coffee(), size="crop").logits == pytest.approx(expected, abs=1e-4)
    card = tmp_path / "cards" / "beside" / "card.toml"
    text = card.read_text()
    card.write_text(text.replace("../finch", os.path.relpath(saved, card.parent)))
    with pytest.raises(ModelError, match="is not a folder that this card may read"):
        camserve.load(card)
    for wrong, said in (
        (["add", f"hf:{saved}", "-a", "timm:resnet18"], "leave out --architecture"),
        (["add", "finch.pth"], "give --architecture. Only hf:FOLDER"),
    ):
        answer = CliRunner().invoke(main, [*wrong, "--folder", str(tmp_path)])
        assert (answer.exit_code, said in answer.output) == (2, True), answer.output
