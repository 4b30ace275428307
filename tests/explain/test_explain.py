"""From an image to an Explanation, on the embedded model."""

import io
import json
import math
import threading
from pathlib import Path

import iccs
import numpy as np
import pytest
import torch
from conftest import QUICK, picture
from torch import nn

import camserve
from camserve.config import load_settings
from camserve.errors import BodyTooLarge, ImageError, ImageTooLarge, OptionError, UnknownName
from camserve.explain import class_maps
from camserve.graph.heads import LinearHead
from camserve.images.reading import Source
from camserve.models.inputs.preprocessing import to_input
from camserve.render.npy import npy_bytes
from camserve.render.regions import Box


@pytest.fixture(scope="module")
def explanation(model: camserve.Model, cat: Path) -> camserve.Explanation:
    return model.explain(cat)


def test_it_says_what_the_cat_is(explanation: camserve.Explanation) -> None:
    assert explanation.class_name == "tiger cat"
    assert explanation.class_index == 282
    assert explanation.score == pytest.approx(0.385, abs=0.01)
    assert explanation.method == "cam"
    assert explanation.head == "linear"
    assert len(explanation.warnings) == 1  # on the whole photograph it is an Egyptian cat
    assert "'Egyptian cat' comes first (0.40, 'tiger cat' 0.20)" in explanation.warnings[0]


def test_map_and_heatmap_have_their_shapes(explanation: camserve.Explanation) -> None:
    assert explanation.map.dtype == explanation.heatmap.dtype == np.float32
    assert explanation.heatmap.shape == (300, 451)
    assert explanation.map.shape == (7, math.ceil(explanation.placement.frame.input[0] / 32))
    assert 0 <= explanation.heatmap.min() < explanation.heatmap.max() <= 1


def test_the_map_accounts_for_the_logit(model: camserve.Model, explanation: camserve.Explanation) -> None:
    head = model.layer().head
    assert isinstance(head, LinearHead)
    accounted = explanation.map.mean() + float(head.bias[explanation.class_index])
    assert accounted == pytest.approx(explanation.logit, abs=1e-4)
    assert explanation.completeness is not None
    assert explanation.completeness < 1e-4


def test_the_whole_photograph_squashed_gives_the_recorded_answers(model: camserve.Model, photos: Path) -> None:
    """Recorded for these weights with (x - 127) / 128; with another mean the scores are far off."""
    from PIL import Image

    for name, label, score in (("chelsea", "Egyptian cat", 0.77), ("coffee", "espresso", 0.90),
                               ("camera", "tripod", 0.95)):  # fmt: skip
        with Image.open(photos / f"{name}.png") as photo:
            square = photo.convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        best = model.explain(square, size="native").top(1)[0]
        assert (best.class_name, round(best.score or 0, 2)) == (label, score)


def test_top_is_sorted_and_scores_add_up(explanation: camserve.Explanation) -> None:
    scores = [answer.score or 0 for answer in explanation.top(5)]
    assert scores == sorted(scores, reverse=True)
    assert explanation.top(1)[0].class_index == explanation.class_index
    assert sum(answer.score or 0 for answer in explanation.top(1000)) == pytest.approx(1, abs=1e-5)


def test_all_class_maps_from_one_forward_equal_each_class_alone(model: camserve.Model, cat: Path) -> None:
    maps = class_maps(model, cat)
    assert maps.shape[0] == 1000
    for target in (0, 285, 999):
        alone = model.explain(cat, target=target).map
        np.testing.assert_allclose(maps[target], alone, rtol=1e-4, atol=1e-4)


def test_gradcam_of_the_embedded_model_is_cam_per_cell(model: camserve.Model, cat: Path) -> None:
    cam, gradcam = (model.explain(cat, method=method).map for method in ("cam", "gradcam"))
    np.testing.assert_allclose(gradcam * cam.size, cam, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [282, "282", "tiger cat", "Tiger Cat"])
def test_a_class_can_be_asked_for_by_index_or_name(model: camserve.Model, cat: Path, target: int | str) -> None:
    assert model.explain(cat, target=target).class_name == "tiger cat"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": 1000}, OptionError, "target 1000 is not a class; the model has classes 0 to 999"),
        ({"target": -1}, OptionError, "target -1 is not a class"),
        ({"target": True}, OptionError, "neither a whole number nor text: class index or name"),
        ({"target": "tigre cat"}, UnknownName, "unknown class 'tigre cat'; did you mean 'tiger cat'"),
        ({"method": "grad-cam"}, UnknownName, "unknown method 'grad-cam'; did you mean 'gradcam'"),
        ({"layer": "blocks.99"}, UnknownName, "unknown layer 'blocks.99'; did you mean"),
        ({"layer": "classifier"}, OptionError, "not feature maps"),
        ({"size": "big"}, OptionError, "size 'big' is not a size; allowed are fit, crop, native"),
        ({"size": 0}, OptionError, "size 0 is not a size"),
        ({"size": 100_000}, OptionError, r"explain\.max_input_megapixels"),
    ],
)
def test_a_bad_option_says_what_is_allowed(
    model: camserve.Model, options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        model.explain(picture(), **options)  # type: ignore[arg-type]


def test_every_kind_of_source_gives_the_same_map(model: camserve.Model, cat: Path) -> None:
    from PIL import Image

    with Image.open(cat) as opened:
        pixels = np.asarray(opened.convert("RGB"))
        sources: list[Source] = [str(cat), cat, cat.read_bytes(), io.BytesIO(cat.read_bytes()), opened, pixels]
        maps = [model.explain(source).map for source in sources]
    assert all(np.array_equal(grid_map, maps[0]) for grid_map in maps)


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (2, 3), (33, 1000)])
@pytest.mark.parametrize("how", ["fit", "crop", "native"])
def test_any_shape_can_be_explained(model: camserve.Model, size: tuple[int, int], how: str) -> None:
    explanation = model.explain(picture(size=size), size=how)
    assert explanation.heatmap.shape == size[::-1]
    assert np.isfinite(explanation.map).all()
    assert explanation.overlay().size == size


def test_a_long_strip_is_squeezed_and_said_to_be(model: camserve.Model) -> None:
    explanation = model.explain(picture(size=(1, 4000)))
    assert explanation.placement.frame.input == (224, 1792)
    assert "longer than 8 : 1" in explanation.warnings[0]


def test_outside_the_crop_is_marked_unseen(model: camserve.Model) -> None:
    explanation = model.explain(picture(size=(640, 400)), size="crop")
    assert np.isnan(explanation.heatmap[:, :140]).all()
    assert np.isfinite(explanation.heatmap[30:370, 150:490]).all()
    assert any("the model saw 48% of the image" in text for text in explanation.warnings)


def test_evidence_against_a_class_is_said_to_be(model: camserve.Model, cat: Path) -> None:
    worst = model.explain(cat).top(1000)[-1].class_index
    explanation = model.explain(cat, target=worst)
    assert (explanation.map.max() <= 0) == ("all evidence is against" in " ".join(explanation.warnings))


def test_a_map_of_only_negative_evidence_has_no_heat_but_a_warning() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        net[4].weight.fill_(-1.0)
        net[0].bias.fill_(3.0)
    explanation = camserve.load(net, size=32).explain(picture())
    assert explanation.map.max() < 0
    assert explanation.heatmap.max() == 0
    assert explanation.warnings[0] == "all evidence is against this class: no place speaks for it, so no heat is shown"


def test_a_constant_map_is_said_to_mean_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.zeros_(net.get_parameter("0.weight"))
    explanation = camserve.load(net, size=32).explain(picture())
    assert "constant" in explanation.warnings[0]


@pytest.mark.filterwarnings("error")
def test_a_model_that_overflows_is_said_to() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.constant_(net.get_parameter("0.weight"), 3e6)
    explanation = camserve.load(net, size=32, mean=2, std=1e-30).explain(picture())
    assert "not finite" in explanation.warnings[0]
    assert np.isfinite(explanation.heatmap).all()


def test_save_writes_everything_and_the_manifest_last(
    model: camserve.Model, explanation: camserve.Explanation, tmp_path: Path
) -> None:
    folder = explanation.save(tmp_path / "deep" / "cat")
    assert {path.name for path in folder.iterdir()} == {
        "overlay.png", "heatmap.png", "heatmap.npy", "map.npy", "manifest.json",
    }  # fmt: skip
    np.testing.assert_array_equal(np.load(folder / "map.npy"), explanation.map)
    np.testing.assert_array_equal(np.load(folder / "heatmap.npy"), explanation.heatmap)
    assert (folder / "heatmap.npy").read_bytes() == npy_bytes(explanation.heatmap)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == json.loads(json.dumps(explanation.to_dict()))
    source = manifest["provenance"]
    assert source["model"]["weights_sha256"] == model.card.sha256
    assert source["image"]["name"] == "chelsea.png"
    assert source["versions"]["camserve"] == camserve.__version__


def test_a_save_that_fails_leaves_nothing(explanation: camserve.Explanation, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(camserve.CamserveError, match="cannot write into"):
        explanation.save(tmp_path / "file" / "cat")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_notebooks_show_a_picture(explanation: camserve.Explanation) -> None:
    assert explanation._repr_png_().startswith(b"\x89PNG")
    assert "tiger cat" in repr(explanation)


def test_explain_many_keeps_the_order_and_reads_ahead_only_a_little(model: camserve.Model) -> None:
    taken = []

    def images():  # type: ignore[no-untyped-def]
        for seed in range(40):
            taken.append(seed)
            yield picture(seed)

    many = model.explain_many(images())
    first = next(many)
    assert len(taken) < 20
    assert np.array_equal(first.map, model.explain(picture(0)).map)
    rest = list(many)
    assert len(rest) == 39
    assert np.array_equal(rest[-1].map, model.explain(picture(39)).map)


def test_explain_many_raises_or_yields_what_fails(model: camserve.Model) -> None:
    images: list[Source] = [picture(0), b"no image", picture(1)]
    with pytest.raises(ImageError):
        list(model.explain_many(images))
    results = list(model.explain_many(images, errors="yield"))
    assert [isinstance(result, ImageError) for result in results] == [False, True, False]
    with pytest.raises(OptionError, match="neither 'raise' nor 'yield'"):
        list(model.explain_many(images, errors="ignore"))


@pytest.mark.parametrize("method", QUICK)
def test_threads_that_share_a_model_get_the_serial_bits(model: camserve.Model, method: str) -> None:
    images = [picture(seed) for seed in range(64 if method == "cam" else 8)]
    serial = [model.explain(image, method=method).map for image in images]
    wrong: list[int] = []

    def work() -> None:
        for index, image in enumerate(images):
            if not np.array_equal(model.explain(image, method=method).map, serial[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_a_caller_sets_in_torch_is_felt(model: camserve.Model, cat: Path) -> None:
    plain = model.explain(cat, method="layercam", layer="blocks.10").map
    with torch.inference_mode():
        assert np.array_equal(model.explain(cat, method="layercam", layer="blocks.10").map, plain)
    with torch.no_grad():
        assert np.array_equal(model.explain(cat, method="layercam", layer="blocks.10").map, plain)


def test_an_earlier_layer_has_a_finer_grid_and_needs_another_method(model: camserve.Model, cat: Path) -> None:
    early = model.explain(cat, layer="blocks.10")
    assert early.head == "general"
    assert early.method == "gradcam"
    assert early.completeness is None
    assert early.map.shape[0] == 14
    with pytest.raises(OptionError, match="Try 'gradcam'"):
        model.explain(cat, layer="blocks.10", method="cam")


def test_images_are_opened_within_the_limits_of_the_model_s_settings(
    model: camserve.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "settings", load_settings(overrides={"limits": {"side": 80}}, environ={}))
    with pytest.raises(ImageTooLarge, match=r"90 x 70; allowed are 80 pixels a side \(limits\.side\)"):
        model.explain(picture())


def test_what_is_no_upload_has_limits_of_its_own(
    model: camserve.Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture().save(tmp_path / "mine.png")
    sources = (tmp_path / "mine.png", (tmp_path / "mine.png").read_bytes(), picture(), np.asarray(picture()))
    uploads = {"megapixels": 0.001, "body_megabytes": 0.0001}
    monkeypatch.setattr(model, "settings", load_settings(overrides={"limits": uploads}, environ={}))
    for source in sources:
        assert model.explain(source).size == (90, 70)
    few = {"local_megapixels": 0.006}
    monkeypatch.setattr(model, "settings", load_settings(overrides={"limits": few}, environ={}))
    for source in sources:
        with pytest.raises(ImageTooLarge, match=r"0\.0063 megapixels; allowed are 0\.006 \(limits\.local_megapixels\)"):
            model.explain(source)
    short = {"local_megabytes": 0.001}
    monkeypatch.setattr(model, "settings", load_settings(overrides={"limits": short}, environ={}))
    for source in sources[:2]:
        with pytest.raises(BodyTooLarge, match=r"allowed are 0\.0009995 \(limits\.local_megabytes\)\. Try"):
            model.explain(source)


def test_colour_profiles_are_followed_unless_the_setting_says_otherwise(
    model: camserve.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture()
    image.info["icc_profile"] = iccs.rgb_profile(iccs.DISPLAY_P3)
    wide = np.asarray(model.explain(image).photo.image)
    monkeypatch.setattr(model, "settings", load_settings(overrides={"images": {"icc": "ignore"}}, environ={}))
    assert np.array_equal(np.asarray(model.explain(image).photo.image), np.asarray(image))
    assert not np.array_equal(wide, np.asarray(image))


def test_input_pixels_are_resampled_and_scaled_as_the_card_says(model: camserve.Model) -> None:
    from PIL import Image

    from camserve.images.reading import read_photo

    grey = read_photo(Image.new("RGB", (50, 40), (255, 127, 0)), max_pixels=10**6, max_side=50, max_bytes=10**6)
    values = to_input(grey, model.frame((50, 40)), model.card.input)
    assert values.shape == (1, 3, 224, 280)
    assert values[0, :, 5, 5].tolist() == [1.0, 0.0, -127 / 128]


def test_the_nominal_crop_reaches_85_percent_on_photographs_of_known_class(model: camserve.Model, data: Path) -> None:
    import csv

    with (data / "samples" / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = [data / "samples" / "images" / row["file"] for row in rows]
    answers = [explanation.class_index for explanation in model.explain_many(images, size="crop")]
    right = sum(answer == int(row["class_index"]) for answer, row in zip(answers, rows, strict=True))
    assert right / len(rows) >= 0.85


def test_the_mask_is_white_where_the_heat_reaches_the_threshold(explanation: camserve.Explanation) -> None:
    mask = np.asarray(explanation.mask_image(0.6))
    np.testing.assert_array_equal(mask == 255, explanation.heatmap >= 0.6)


def test_what_is_not_finite_is_null_in_json() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    nn.init.constant_(net.get_parameter("4.bias"), float("inf"))
    facts = camserve.load(net, size=32).explain(picture()).to_dict()
    assert facts["logit"] is None
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("size", [(32, 20), (20, 32), (255, 100), (256, 100)])
def test_a_small_photograph_is_enlarged_only_where_a_legend_needs_room(
    model: camserve.Model, size: tuple[int, int]
) -> None:
    explanation = model.explain(picture(3, size))
    assert explanation.overlay().size == explanation.heatmap_image().size == size
    factor = {32: 8, 255: 2, 256: 1}[max(size)]
    drawn = explanation.overlay(legend=True, alpha=0)
    assert drawn.size == (factor * size[0], factor * size[1])
    photo = np.kron(np.asarray(picture(3, size)), np.ones((factor, factor, 1), np.uint8))
    same = (np.asarray(drawn) == photo).all(2)
    assert 0.6 < same.mean() < 0.99  # all but the legend
    assert (np.asarray(drawn)[~same] == (16, 16, 18)).all(1).any()


def test_enlarged_heat_lies_where_it_lay(model: camserve.Model) -> None:
    explanation = model.explain(picture(3, (32, 20)), size="crop")
    middles = explanation.enlarged_rows(3)(0, 60)[1::3, 1::3]
    np.testing.assert_allclose(middles, explanation.heatmap, atol=1e-6)
    assert explanation.enlarged_rows(1)(0, 20).tobytes() == explanation.heatmap.tobytes()
    assert np.isnan(middles).any()  # what the crop left out
    (box, *_) = explanation.boxes(0.5)
    assert box.enlarged(3) == Box(3 * box.left, 3 * box.top, 3 * box.right, 3 * box.bottom, box.peak, box.share)
