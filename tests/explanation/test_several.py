"""Several explanations as a list and a sheet, pictures on a screen, and figures of matplotlib."""

import copy
import inspect
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import picture
from PIL import Image, ImageShow

import camserve
from camserve.catalogue.methods import METHODS, methods_in_order
from camserve.catalogue.options import ExplainOptions
from camserve.errors import OptionError, UnknownName
from camserve.explain import open_photo
from camserve.explain.side_by_side import compare_classes
from camserve.explanation import Explanations
from camserve.explanation.contact_sheet import draw_sheet
from camserve.images.reading import encode


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "one.png"
    picture(1, (120, 90)).save(path)
    return path


@pytest.fixture
def made(model: camserve.Model, image: Path) -> camserve.Explanation:
    return model.explain(image, target=281)


# ---- several methods, several classes


def test_each_method_is_explained_as_alone_in_the_order_given(model: camserve.Model, image: Path) -> None:
    found = model.explain_methods(image, ["layercam", "cam", "layercam"], target="tabby", size=96)
    assert [one.method for one in found] == ["layercam", "cam", "layercam"]
    for one in found:
        alone = model.explain(image, target="tabby", method=one.method, size=96)
        assert np.array_equal(one.map, alone.map)
    assert found.left_out == {}


def test_a_named_method_that_does_not_go_with_the_model_is_an_error(model: camserve.Model, image: Path) -> None:
    with pytest.raises(OptionError, match="no attention layers"):
        model.explain_methods(image, ["cam", "legrad"])
    with pytest.raises(UnknownName, match="did you mean 'gradcam'"):
        model.explain_methods(image, "cam,gradcan")
    with pytest.raises(OptionError, match="both methods and method 'cam' are given"):
        model.explain_methods(image, ["layercam"], method="cam")
    with pytest.raises(OptionError, match="limit 0 is not a positive number"):
        model.explain_methods(image, ["cam"], limit=0)


def test_what_is_left_out_has_a_reason_and_a_tile(model: camserve.Model, image: Path) -> None:
    found = model.explain_methods(image, ["cam", "rise"], limit=1e-6)
    assert list(found) == []
    assert list(found.left_out) == ["cam", "rise"]
    assert "not begun: the limit is 1e-06 s" in found.left_out["rise"]
    with pytest.raises(OptionError, match="nothing to draw"):
        found.sheet()


@pytest.mark.parametrize("given", [[], "", 3, None, ["cam", 3], [["cam"]]])
def test_what_is_no_list_of_methods_is_refused(given: object) -> None:
    with pytest.raises((OptionError, UnknownName)):
        methods_in_order(given)


def test_all_is_every_method() -> None:
    assert methods_in_order("all") == methods_in_order(["cam", "all"]) == tuple(METHODS)
    assert methods_in_order("rise, cam") == ("rise", "cam")


def test_one_method_too_many_names_what_to_call(model: camserve.Model, image: Path) -> None:
    with pytest.raises(OptionError, match=r"for several, call model\.explain_methods\(image, \[\.\.\.\]\), or give"):
        model.explain(image, method=["cam", "layercam"])  # type: ignore[arg-type]


def test_the_sheet_of_classes_is_that_of_the_other_doors(model: camserve.Model, image: Path) -> None:
    found = model.explain_classes(image, 3)
    photo = open_photo(model, image)
    expected = draw_sheet(photo.image, photo.name, list(compare_classes(model, photo, 3, ExplainOptions())))
    assert found.sheet().tobytes() == expected.tobytes()
    assert found._repr_png_() == encode(expected, "png")
    assert found.sheet(grey=True).tobytes() != expected.tobytes()


def test_a_changed_list_shows_what_is_in_it(model: camserve.Model, image: Path) -> None:
    found = model.explain_methods(image, ["cam", "layercam"])
    whole = found.sheet()
    assert copy.copy(found).sheet().size == pickle.loads(pickle.dumps(found)).sheet().size == whole.size
    del found[1]
    assert found.sheet().width < whole.width


def test_several_photographs_make_no_sheet(model: camserve.Model, made: camserve.Explanation) -> None:
    both = Explanations([made, model.explain(picture(2, (60, 60)))])
    with pytest.raises(OptionError, match="several photographs"):
        both.sheet()
    assert both._repr_png_() is None


# ---- on a screen


def test_a_picture_is_shown_where_there_is_a_screen(
    made: camserve.Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Image.Image] = []

    class Screen(ImageShow.Viewer):
        def show(self, image: Image.Image, **options: object) -> bool:
            seen.append(image)
            return True

    monkeypatch.setattr(ImageShow, "_viewers", [Screen()])
    monkeypatch.setenv("DISPLAY", ":0")
    made.show(alpha=0.3)
    Explanations([made]).show()
    assert seen[0].tobytes() == made.overlay(legend=True, alpha=0.3).tobytes()
    assert seen[1].tobytes() == Explanations([made]).sheet().tobytes()


def test_without_a_screen_there_are_words(made: camserve.Explanation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OptionError, match="no screen to show a picture on"):
        made.show()


# ---- figures


@pytest.fixture
def pyplot(monkeypatch: pytest.MonkeyPatch) -> "object":
    matplotlib = pytest.importorskip("matplotlib", reason="figures are drawn by matplotlib")
    matplotlib.use("agg")
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def test_axes_hold_the_overlay_its_title_and_its_bar(made: camserve.Explanation, pyplot: object) -> None:
    figure, (left, right) = pyplot.subplots(1, 2)  # type: ignore[attr-defined]
    assert made.plot(right, signed=True) is right
    assert np.array_equal(np.asarray(right.images[0].get_array()), np.asarray(made.overlay(signed=True)))
    assert right.get_title() == made.in_short
    assert not left.images
    (bar,) = (axes for axes in figure.axes if axes not in (left, right))
    end = float(np.abs(made.map).max())
    assert [tick.get_text() for tick in bar.get_xticklabels()] == [f"{-end:.3g}", "0", f"{end:.3g} logits"]


def test_without_axes_there_is_a_figure_of_its_own(made: camserve.Explanation, pyplot: object) -> None:
    axes = made.plot()
    assert axes.figure.number in pyplot.get_fignums()  # type: ignore[attr-defined]
    assert axes.images[0].get_array().shape == (90, 120, 3)
    with pytest.raises(OptionError, match="ax is of type int"):
        made.plot(3)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="did you mean 'alpha'"):
        made.plot(alfa=0.5)  # type: ignore[call-arg]


def test_figures_are_files_of_text_and_pixels(made: camserve.Explanation, pyplot: object, tmp_path: Path) -> None:
    path = made.save_figure(tmp_path / "new" / "why.svg", contour=0.5)
    text = path.read_text()
    assert made.class_name in text
    assert text.count("<image") >= 1
    made.save_figure(tmp_path / "again.svg", contour=0.5)
    assert (tmp_path / "again.svg").read_text() == text
    assert made.save_figure(str(tmp_path / "why.PDF")).read_bytes().startswith(b"%PDF")
    with pytest.raises(OptionError, match="neither .svg nor .pdf"):
        made.save_figure("why.png")


# ---- help


@pytest.mark.parametrize("name", ["explain", "explain_classes", "explain_methods", "explain_many"])
def test_help_says_every_option(name: str) -> None:
    method = getattr(camserve.Model, name)
    text = inspect.getdoc(method) or ""
    for parameter in list(inspect.signature(method).parameters)[2:]:
        assert (
            f"{parameter}: " in text
            or "Options and errors are those of `explain`" in " ".join(text.split())
            or "Other options are those of `explain`" in text
        ), parameter
    assert "One of logit, log-softmax, contrast." in text
