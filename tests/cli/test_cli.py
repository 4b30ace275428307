"""The command line: results, exit codes, messages, and help that is quick and true."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import picture

import camserve
from camserve.batch import Summary
from camserve.cli import main
from camserve.cli.summarising import in_words
from camserve.findings.answers import Answers
from camserve.findings.confusion import Confusion
from camserve.methods import METHODS


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "one.png"
    picture(1).save(path)
    return path


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    path = tmp_path / "fake.jpg"
    path.write_text("this is no photograph")
    return path


def test_explain_writes_a_folder_per_image(image: Path, tmp_path: Path) -> None:
    result = run("explain", image, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "-> " in result.output
    assert (tmp_path / "out" / "one.png" / "manifest.json").exists()


def test_images_of_the_same_name_do_not_meet(image: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "one.png"
    picture(2).save(other)
    assert run("explain", image, other, "-o", tmp_path / "out").exit_code == 0
    maps = [np.load(tmp_path / "out" / name / "map.npy") for name in ("one.png", "one.png-2")]
    assert not np.array_equal(*maps)


def test_one_bad_file_does_not_stop_the_others(image: Path, fake: Path, tmp_path: Path) -> None:
    result = run("explain", fake, image, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "fake.jpg" in result.stderr
    assert (tmp_path / "out" / "one.png" / "overlay.png").exists()


def test_only_bad_files_are_nothing_usable(fake: Path, tmp_path: Path) -> None:
    assert run("explain", fake, tmp_path / "missing.png", "-o", tmp_path / "out").exit_code == 3


def test_json_has_one_object_per_image_and_no_other_output(image: Path, fake: Path, tmp_path: Path) -> None:
    result = run("explain", image, fake, "--json", "-o", tmp_path / "out")
    good, bad = map(json.loads, result.stdout.splitlines())
    assert good["class_name"]
    assert good["provenance"]["method"] == "cam"
    assert bad["code"] in ("unsupported_type", "bad_image")


def test_timings_name_every_step(image: Path, tmp_path: Path) -> None:
    said = run("explain", image, "--timings", "-o", tmp_path / "out").stdout.splitlines()[-1]
    steps = dict(step.split() for step in said.removeprefix("  ms: ").split(", "))
    assert list(steps) == ["decode", "queue", "forward", "method", "write"]
    assert float(steps["forward"]) > 0
    facts = json.loads(run("explain", image, "--timings", "--json", "-o", tmp_path / "out").stdout)
    assert set(facts["timings"]) == set(steps)
    assert "one method, one target and one output" in run("explain", image, "--timings", "--method", "cam,fem").stderr


def test_options_reach_the_explanation_and_the_picture(image: Path, tmp_path: Path) -> None:
    plain = run("explain", image, "--json", "-o", tmp_path / "plain")
    options = ("--method", "layercam", "--target", "tiger cat", "--size", "crop", "--colormap", "viridis",
               "--alpha", "0.3", "--contour", "0.5", "--boxes", "0.5", "--legend",
               "--layer", "blocks.10")  # fmt: skip
    result = run("explain", image, "--json", "-o", tmp_path / "other", *options)
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert (facts["class_name"], facts["provenance"]["method"], facts["provenance"]["layer"]) == (
        "tiger cat", "layercam", "blocks.10",
    )  # fmt: skip
    assert facts["provenance"]["frame"]["input"] == [224, 224]
    pictures = [(tmp_path / name / "one.png" / "overlay.png").read_bytes() for name in ("plain", "other")]
    assert plain.exit_code == 0
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "tigre cat"), "unknown class 'tigre cat'; did you mean 'tiger cat'"),
        (("--target", "tabby-tigre cat"), "unknown class 'tigre cat'; did you mean 'tiger cat'"),
        (("--quantity", "softmax"), "log-softmax"),
        (("--model", "efficientnet"), "unknown model 'efficientnet'; did you mean"),
        (("--size", "fitt"), "size"),
        (("--colormap", "infernal"), "unknown colour map 'infernal'; did you mean 'inferno'"),
        (("--alpha", "7"), "render.alpha = 7.0: should be less than or equal to 1"),
        (("--method", "grad_cam"), "gradcam"),
        (("--layer", "haed"), "unknown layer 'haed'; did you mean 'head'"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2_or_3(
    image: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = run("explain", image, "-o", tmp_path / "out", *options)
    assert result.exit_code in (2, 3)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_a_bad_settings_file_is_one_line(image: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[serve]\nprot = 1\n")
    result = run("--config", file, "explain", image)
    assert result.exit_code == 2
    assert result.stderr.startswith("camserve: in ")


def test_batch_explains_what_it_can_and_says_what_it_could_not(image: Path, fake: Path, tmp_path: Path) -> None:
    result = run("batch", tmp_path, tmp_path / "out")
    assert result.exit_code == 1
    assert "1 explained, 1 failed" in result.stdout
    assert "fake.jpg" in result.stderr


def test_batch_with_json_prints_a_summary_and_nothing_else(image: Path, tmp_path: Path) -> None:
    own = {"reason": "places of this batch's own results", "count": 1, "examples": ["out"]}
    result = run("batch", tmp_path, tmp_path / "out", "--json")
    said = json.loads(result.stdout)
    answers, findings = said.pop("answers"), said.pop("findings")
    assert said == {
        "explained": 1, "failed": 0, "ignored": 0, "interrupted": False, "left_out": [own], "notes": [],
        "stopped": None,
    }  # fmt: skip
    assert (answers["known"], answers["right"], answers["accuracy"]) == (0, 0, None)
    assert [one["file"] for one in answers["surest"]] == [image.name]
    kept = json.loads((tmp_path / "out" / "findings.json").read_text())
    assert (findings["sentences"], findings["cannot_tell"]) == (kept["sentences"], kept["cannot_tell"])
    assert findings["cannot_tell"][0].startswith("Cannot tell whether the only predicted class has a shortcut")
    again = json.loads(run("batch", tmp_path, tmp_path / "out", "--json").stdout)  # finished: it reads what it kept
    assert (again["findings"], again["answers"]) == (findings, answers)
    assert result.stderr == ""


def test_a_low_score_is_said(photos: Path, tmp_path: Path) -> None:
    sure, unsure = photos / "camera.png", photos / "astronaut.png"
    result = run("explain", sure, unsure, "-o", tmp_path / "out")
    assert f"{sure}: tripod 0.94 -> " in result.stdout
    assert f"{unsure}: unsure: football helmet 0.16 -> " in result.stdout
    assert "  note: the model is unsure: its best answer, 'football helmet', has a score of 0.16" in result.stdout
    (tmp_path / "list.txt").write_text(f"{sure}\n{unsure}\n")
    result = run("batch", tmp_path / "list.txt", tmp_path / "run")
    assert result.stdout.startswith("2 explained, 0 failed, 1 unsure\nsurest: tripod 0.94 (")
    facts = json.loads((tmp_path / "run" / "findings.json").read_text())
    assert (facts["answers"]["unsure"], facts["counts"]["unsure"]) == (1, 1)
    assert "The model is unsure of 1 image: its best answer has a low score." in facts["sentences"]


def test_batch_says_how_many_are_right(image: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text(f"file,class\n{image.name},tench\n")
    result = run("batch", tmp_path / "table.csv", tmp_path / "out")
    assert result.stdout.splitlines()[1] == "0 of 1 right (0 %)"
    said = json.loads(run("batch", tmp_path / "table.csv", tmp_path / "again", "--json").stdout)["answers"]
    assert (said["known"], said["right"], said["accuracy"]) == (1, 0, 0)
    (worst,) = said["worst"]
    assert (worst["file"], worst["expected"], said["confusions"][0]["expected"]) == (image.name, "tench", "tench")
    assert result.stdout.splitlines()[2:4] == [
        f"  {'class':{len(worst['predicted'])}}  images  right  recall  precision",
        f"  {'tench':{len(worst['predicted'])}}       1      0      0%          -",
    ]
    assert f"worst: {worst['predicted']} {worst['score']:.2f} for tench ({image.name})" in result.stdout
    assert "- Cannot tell whether the only predicted class has a shortcut: fewer than 8 images" in result.stdout


def test_batch_says_of_many_classes_only_those_with_enough_images() -> None:
    def said(images: dict[str, int]) -> list[str]:
        confusion = Confusion()
        for index, (name, count) in enumerate(images.items()):
            for number in range(count):
                answer = {"class_index": index, "class_name": name}
                confusion.add(answer, answer if number else {"class_index": 0, "class_name": "first"})
        answers = Answers(known=9, right=1, confusion=confusion)
        summary = Summary(9, 0, 0, False, answers=answers, findings={"sentences": [str(one) for one in range(8)]})
        return list(in_words(summary, Path("out")))

    many = said({"first": 1, **{f"class {number}": 1 for number in range(20)}})
    assert "by class: none of 21 classes has 8 images or more; findings.json lists them all" in many
    assert many[-3:] == ["- 5", f"- 2 more in {Path('out') / 'findings.json'}", f"-> {Path('out') / 'index.html'}"]
    some = said({"first": 10, "a class of a very long name": 10, **{f"class {number}": 1 for number in range(20)}})
    assert some[2:6] == [
        "  class                     images  right  recall  precision",
        "  a class of a very lon...      10      9     90%       100%",
        "  first                         10     10    100%        32%",
        "  the worst classes with at least 8 images; findings.json lists all 22 classes",
    ]


def test_models_and_methods_list_what_there_is() -> None:
    names = [row["name"] for row in json.loads(run("models", "--json").stdout)]
    assert names == ["efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"]
    assert [row["name"] for row in json.loads(run("methods", "--json").stdout)] == list(METHODS)
    assert "efficientnet-lite0" in run("models").stdout
    assert "gradcam++" in run("methods").stdout


def test_models_check_asks_the_known_answers() -> None:
    result = run("models", "--check", "--json")
    assert result.exit_code == 0, result.output
    assert all(row["holds"] for row in json.loads(result.stdout))


@pytest.mark.parametrize(
    "command",
    [
        "explain",
        "batch",
        "compare",
        "evaluate",
        "models",
        "methods",
        "metrics",
        "inspect",
        "sanity",
        "calibrate",
        "serve",
    ],
)
def test_every_command_s_help_has_an_example(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"camserve {command}" in result.stdout.split("Example")[1]


def test_help_and_lists_load_no_torch() -> None:
    code = (
        "import sys; from camserve.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'PIL', 'flask', 'numpy', 'openvino', 'pydantic'}.intersection(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_python_dash_m_is_the_same_program() -> None:
    command = [sys.executable, "-m", "camserve", "--version"]
    assert subprocess.check_output(command, text=True).strip() == f"camserve, version {camserve.__version__}"


def test_places_regions_and_polygons_are_answered_in_words_and_in_json(image: Path, tmp_path: Path) -> None:
    asked = ("--at", "20,30", "--at", "0,0", "--region", "0,0,45,70", "--region", "45,0,90,70", "--polygons")
    said = run("explain", image, "-o", tmp_path / "out", *asked).stdout.splitlines()
    facts = json.loads(run("explain", image, "-o", tmp_path / "out", "--json", *asked).stdout)
    explanation = camserve.load("efficientnet-lite0").explain(image)
    votes = [[place["x"], place["y"], place["votes"][0]["class_name"]] for place in facts["places"]]
    assert votes == [[x, y, explanation.at(x, y)[0].class_name] for x, y in ((20, 30), (0, 0))]
    left, right = (region["logits"] for region in facts["regions"])
    assert left == explanation.share((0, 0, 45, 70))
    assert left + right == pytest.approx(facts["regions"][0]["of"], rel=1e-9)
    assert left + right + facts["bias"] == pytest.approx(facts["logit"], abs=1e-4)
    assert [one["rings"] for one in facts["polygons"]] == [one.rings for one in explanation.polygons()]
    assert said[1].startswith("  at 20,30: ") and said[1].endswith(" (logits)")
    assert said[3] == f"  region 0,0,45,70: {left:.2f} logits; all places together {left + right:.2f}"
    assert "corners with" in said[5]
    manifest = json.loads((tmp_path / "out" / "one.png" / "manifest.json").read_text())
    assert manifest["regions"] == facts["regions"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (("--at", "20"), "at '20' should be x,y: numbers of pixels of the original, separated by commas"),
        (("--at", "a,b"), "at 'a,b' should be x,y"),
        (("--region", "1,2,3"), "region '1,2,3' should be left,top,right,bottom: numbers of pixels"),
        (("--region", "0,0,91,70"), "within the photograph's 90 x 70 pixels"),
        (("--region", "0,0,9,9", "--layer", "blocks.10"), "at layer 'blocks.10' the head is general"),
    ],
)
def test_a_question_without_an_answer_is_one_line(
    image: Path, tmp_path: Path, asked: tuple[str, ...], message: str
) -> None:
    result = run("explain", image, "-o", tmp_path / "out", *asked)
    assert result.exit_code in (2, 3)
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_pictures_of_one_run_can_share_a_scale(image: Path, fake: Path, tmp_path: Path, model: camserve.Model) -> None:
    from PIL import Image

    from camserve.explanation.common_scale import common_scale

    other = tmp_path / "other.png"
    picture(2, (60, 60)).save(other)
    flags = ("--top", "2", "--common-scale", "--signed", "--legend", "--at", "9,9")
    result = run("explain", image, fake, other, "-o", tmp_path / "out", *flags)
    assert result.exit_code == 1, result.output
    explanations = [one for path in (image, other) for one in model.explain_classes(path, 2)]
    end = common_scale(explanations, signed=True)
    assert result.stdout.splitlines()[-1] == f"all pictures: the last colour is {end:.4g} logits"
    folders = sorted((tmp_path / "out").glob("*/*"))
    assert [folder.name for folder in folders] == [
        f"{rank}-{one.class_name}" for rank, one in zip((1, 2, 1, 2), explanations, strict=True)
    ]
    for folder, explanation in zip(folders, explanations, strict=True):
        with Image.open(folder / "overlay.png") as drawn:
            assert drawn.convert("RGB") == explanation.overlay(signed=True, legend=True, scale=end)
        assert json.loads((folder / "manifest.json").read_text())["class_index"] == explanation.class_index


def test_a_scale_and_signed_colours_reach_the_picture(image: Path, tmp_path: Path, model: camserve.Model) -> None:
    from PIL import Image

    look = ("--scale", "20", "--signed", "--colormap", "vik")
    assert run("explain", image, "-o", tmp_path / "out", *look).exit_code == 0
    with Image.open(tmp_path / "out" / "one.png" / "overlay.png") as drawn:
        assert drawn.convert("RGB") == model.explain(image).overlay(signed=True, scale=20, colormap="vik")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--top", "2", "--target", "5"), "--top and --target both say which classes to explain: give one of them"),
        (("--common-scale", "--scale", "5"), "--common-scale and --scale both set the value of the last colour"),
        (("--common-scale", "--sharp"), "signed and scale need one raw map"),
        (("--scale", "-5"), "scale -5.0 is not a positive number"),
        (("--top", "1001"), "1001 classes were asked for; the model has 1000"),
    ],
)
def test_scales_and_classes_that_cannot_be_are_refused(
    image: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    result = run("explain", image, "-o", tmp_path / "out", *options)
    assert result.exit_code in (2, 3)
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_photograph_that_changes_during_the_run_is_not_drawn_over(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camserve.cli.redrawing import Comparison

    end = vars(Comparison)["end"].fget

    def changing(self: Comparison) -> float:
        picture(7).save(image)
        return end(self)

    monkeypatch.setattr(Comparison, "end", property(changing))
    result = run("explain", image, "-o", tmp_path / "out", "--common-scale")
    assert result.exit_code != 0
    assert "one.png' changed while it was being explained; run the command again" in result.stderr


def test_the_expected_class_is_compared_with_the_predicted_one(image: Path, tmp_path: Path) -> None:
    command = ("explain", image, "--expected", "tench", "-t", "predicted-expected", "-o", tmp_path / "out")
    said = run(*command)
    assert said.exit_code == 0, said.output
    assert re.search(r"one.png: (unsure: )?[\w -]+ - tench.* logits ->", said.stdout)
    assert re.search(
        r"  note: the model says '.*' 0\.\d\d; expected was 'tench', its number \d+ with 0\.\d\d\n", said.stdout
    )
    facts = json.loads(run(*command, "--json").stdout)
    assert (facts["expected"]["class_index"], facts["expected"]["right"]) == (0, False)
    refused = run("explain", image, "--expected", "tenhc", "-o", tmp_path / "out")
    assert "unknown class 'tenhc'; did you mean 'tench'" in refused.stderr
