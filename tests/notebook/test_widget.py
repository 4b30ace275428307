"""The widget in a browser: pixel for pixel the overlay, what a reader chooses in Python, and what Python sets shown."""

import base64
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from page_driving import check_equal, drawn, settle, watched, within
from PIL import Image

import camserve
from camserve.errors import OptionError, UnknownName
from camserve.images.reading import encode
from camserve.notebook.one_module import one_module

pytest.importorskip("anywidget", reason="the extra widget is not installed")

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from camserve.notebook.widget import Widget

HOST = Path(__file__).parent / "widget_host.html"


@contextmanager
def shown(browser: Any, widget: "Widget", **context: Any) -> Iterator["Page"]:
    """The widget in a page that does what a notebook does; Python is told what is chosen there."""
    state = widget.get_state()
    photo = base64.b64encode(state.pop("photo")).decode()
    with watched(browser, 1000, 700, **context) as page:
        page.expose_function("saved", widget.set_state)
        page.goto(HOST.as_uri())
        page.evaluate("([state, photo]) => show(state, photo)", [state, photo])
        yield page


def put(page: "Page", widget: "Widget", **choices: Any) -> None:
    """Python sets it, and the browser is told as a kernel tells it."""
    for name, value in choices.items():
        setattr(widget, name, value)
    told = {name: getattr(widget, name) for name in (*choices, "palettes")}
    page.evaluate("(values) => model.change(values)", told)


def slide(page: "Page", choice: str, value: float) -> None:
    page.eval_on_selector(
        f"[data-choice={choice}]",
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def check(page: "Page", choice: str) -> None:
    page.check(f"[data-choice={choice}]")


# What a reader does, and the options of overlay that say the same.
STEPS: tuple[tuple[Callable[["Page"], Any], dict[str, Any]], ...] = (
    (lambda page: None, {}),
    (lambda page: slide(page, "alpha", 0.4), {"alpha": 0.4}),
    (lambda page: page.select_option("[data-choice=colormap]", "viridis"), {"colormap": "viridis"}),
    (lambda page: page.uncheck("[data-choice=smooth]"), {"smooth": False}),
    (lambda page: check(page, "grey"), {"grey": True}),
    (lambda page: check(page, "boxes"), {"boxes": 0.5}),
    (lambda page: slide(page, "threshold", 0.7), {"boxes": 0.7}),
    (lambda page: check(page, "signed"), {"signed": True, "colormap": None}),
)


def test_each_choice_is_drawn_as_the_overlay_and_python_knows_it(
    browser: Any, model: camserve.Model, cat: Path
) -> None:
    found, said = model.explain(cat), dict[str, Any]()
    widget = found.widget()
    with shown(browser, widget) as page:
        for act, options in STEPS:
            act(page)
            said |= options
            check_equal(page, found.overlay(**said))
            assert {name: widget.look[name] for name in said} == said


def test_an_outline_lies_where_the_overlay_has_it(browser: Any, model: camserve.Model, cat: Path) -> None:
    found = model.explain(cat)
    with shown(browser, found.widget(alpha=0, contour=0.3)) as page:
        plain, true = (np.asarray(found.overlay(alpha=0, contour=level)).astype(int) for level in (None, 0.3))
        mine, theirs = (np.abs(one - plain).max(2) > 24 for one in (drawn(page), true))
        assert within(theirs, mine, 3) > 0.99
        assert within(mine, theirs, 3) > 0.9


def test_another_class_needs_no_python_and_python_hears_of_it(browser: Any, model: camserve.Model, cat: Path) -> None:
    found = model.explain(cat)
    widget = found.widget()
    third = model.explain(cat, target=found.top(3)[2].class_index)
    with shown(browser, widget) as page:
        page.get_by_label("Class", exact=True).click()
        page.keyboard.type(third.class_name)
        page.wait_for_selector(".classes [aria-selected=true]")
        check_equal(page, third.overlay())  # looked at in passing
        assert widget.class_index == found.class_index
        page.keyboard.press("Enter")
        check_equal(page, third.overlay())
        assert widget.class_index == third.class_index
        assert page.inner_text(".for") == page.get_by_label("Class", exact=True).input_value() == third.class_name
        assert f"looked for warnings about {found.class_name} alone" in page.inner_text(".warnings")
        assert page.get_attribute(".heat", "aria-label") == f"Where the evidence for {third.class_name} is, by CAM"


def test_a_difference_is_there_again_after_a_class(browser: Any, model: camserve.Model, cat: Path) -> None:
    first, second = model.explain(cat).top(2)
    difference = model.explain(cat, target=f"#{first.class_index}-#{second.class_index}")
    widget = difference.widget(signed=True)
    assert widget.class_index is None
    with shown(browser, widget) as page:
        check_equal(page, difference.overlay(signed=True))
        put(page, widget, class_index=second.class_index)
        check_equal(page, model.explain(cat, target=second.class_index).overlay(signed=True))
        page.click(".back")
        check_equal(page, difference.overlay(signed=True))
        assert widget.class_index is None


def test_what_python_sets_is_drawn(browser: Any, model: camserve.Model, cat: Path) -> None:
    found = model.explain(cat)
    widget = found.widget(colormap="batlow", scale=20)
    with shown(browser, widget) as page:
        check_equal(page, found.overlay(colormap="batlow", scale=20))
        put(page, widget, alpha=np.float32(0.5), colormap="hot", scale=None)  # a name that the menu does not have
        check_equal(page, found.overlay(alpha=0.5, colormap="hot"))
        assert page.input_value("[data-choice=colormap]") == "hot"
        put(page, widget, split=0.5)
        settle(page)
        assert page.evaluate("getComputedStyle(heat).clipPath") == "inset(0px 0px 0px 50%)"


def test_a_map_that_is_no_sum_is_shown_alone(browser: Any, model: camserve.Model, cat: Path) -> None:
    found = model.explain(cat, method="gradcam", target="espresso")
    widget = found.widget(alpha=1)
    with shown(browser, widget) as page:
        check_equal(page, found.overlay(alpha=1))
        assert page.locator(".search").count() == 0
        assert page.inner_text(".warnings").lower() == "\n".join(found.warnings).lower()
    assert widget.class_index == found.class_index
    with pytest.raises(OptionError, match="class_index 3 is not a class .* it has only the explained map"):
        widget.class_index = 3


def test_a_large_photograph_is_drawn_smaller(browser: Any, model: camserve.Model, cat: Path) -> None:
    with Image.open(cat) as opened:
        large = opened.convert("RGB").resize((1804, 1200))
    widget = model.explain(large).widget(alpha=0)
    with shown(browser, widget) as page:
        pixels = drawn(page)
    assert 0.99 * 2**20 < pixels[..., 0].size <= 2**20 + 2000
    small = np.asarray(large.resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels - small).max() <= 2
    data, _ = widget._repr_mimebundle_() or ({}, {})
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as still:
        assert max(still.size) == 1024


def test_keys_stay_in_the_widget_and_two_of_it_do_not_meet(browser: Any, model: camserve.Model, cat: Path) -> None:
    widget = model.explain(cat).widget()
    with shown(browser, widget) as page:
        page.evaluate("display()")
        page.evaluate("globalThis.keys = 0; document.addEventListener('keydown', () => { keys += 1; })")
        page.focus("[data-choice=alpha] >> nth=1")
        page.keyboard.press("ArrowRight")
        settle(page)
        assert page.eval_on_selector_all("[data-choice=alpha]", "(all) => all.map((one) => one.value)") == ["0.81"] * 2
        assert widget.alpha == 0.81
        assert page.evaluate("keys") == 0
        ids = page.eval_on_selector_all("main [id]", "(all) => all.map((one) => one.id)")
        assert len(ids) == len(set(ids)) == 4
        page.evaluate("close()")
        slide(page, "alpha", 0.2)  # of the one that was closed, which is told nothing any more
        assert page.evaluate("model.get('alpha')") == 0.2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_people(browser: Any, model: camserve.Model, cat: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_core_python.sync_playwright", reason="no axe-core-python").Axe()
    with shown(browser, model.explain(cat, target="espresso").widget(contour=0.5), color_scheme=scheme) as page:
        settle(page)
        found = axe.run(page)["violations"]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_wrong_values_are_said_in_words(model: camserve.Model, cat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = model.explain(cat)
    widget = found.widget()
    wrong: tuple[tuple[str, Any, str], ...] = (
        ("alpha", 2, "alpha must be a number"),
        ("split", "half", "split must be a number"),
        ("contour", 0.4, "contour 0.4 is neither True nor False"),
        ("class_index", 5000, "class_index 5000 is not a class .* it has 1000 classes, indices from 0 to 999"),
    )
    for name, value, words in wrong:
        before = getattr(widget, name)
        with pytest.raises(OptionError, match=words):
            setattr(widget, name, value)
        assert getattr(widget, name) == before
    with pytest.raises(UnknownName, match="did you mean 'viridis'"):
        widget.colormap = "virdis"
    with pytest.raises(OptionError, match="contour 0.3 and boxes 0.6 differ"):
        found.widget(contour=0.3, boxes=0.6)
    monkeypatch.setattr("camserve.explanation.live_canvas.find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"not installed: pip install 'camserve\[widget\]'"):
        found.widget()


def test_what_shows_no_widgets_has_a_picture(model: camserve.Model, cat: Path) -> None:
    found = model.explain(cat)
    data, _ = found.widget(signed=True)._repr_mimebundle_() or ({}, {})
    assert "application/vnd.jupyter.widget-view+json" in data
    assert base64.b64decode(data["image/png"]) == encode(found.overlay(signed=True, legend=True), "png")
    assert data["text/plain"] == f"<camserve widget of {found.in_short} of chelsea.png>"


def test_modules_become_one_and_another_form_of_import_is_refused(tmp_path: Path) -> None:
    modules = {
        "sum": "const hidden = 1;\nexport const one = hidden;\nexport function more(x) { return x + one; }",
        "both": 'import { one } from "./sum.js";\nconst hidden = 2;\nexport class Both { sum = one + hidden; }',
        "entry": 'import { Both } from "./both.js";\nimport { more } from "./sum.js";\nexport default { Both, more };',
        "star": 'import * as all from "./sum.js";',
    }
    for name, text in modules.items():
        (tmp_path / f"{name}.js").write_text(f"{text}\n")
    made = one_module(tmp_path / "entry.js")
    assert made.count("const hidden = 1;") == 1
    assert (
        made.index("const module_sum") < made.index("const module_both") < made.index("const { Both } = module_both;")
    )
    with pytest.raises(ValueError, match="star.js: 'import .* as all"):
        one_module(tmp_path / "star.js")
