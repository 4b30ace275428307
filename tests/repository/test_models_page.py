"""docs/models.md: every recipe runs as it stands, and what is no model here is answered with the recipe that helps."""

import re
import shlex
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision
from click.testing import CliRunner
from test_docs import ROOT, blocks

import camserve
from camserve.cli import main
from camserve.errors import CamserveError
from camserve.models.architectures.other_kinds import KINDS, PAGE

PAGE_FILE = ROOT / PAGE
# Where an exporter that the tests do not have would be needed; the page says so beside each.
NOT_RUN = ("A model file", "A Keras model")
NET = "from torchvision.models import squeezenet1_1\n\n\ndef Finch():\n    return squeezenet1_1(num_classes=3)\n"

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries' own code


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the page's examples name, small and with random weights."""
    openvino, transformers = pytest.importorskip("openvino"), pytest.importorskip("transformers")
    from towers import saved

    home = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    net, image = torchvision.models.squeezenet1_1(num_classes=3).eval(), torch.zeros(1, 3, 64, 64)
    torch.save({"state_dict": net.state_dict()}, home / "finch.pth")
    torch.jit.trace(net, image).save(home / "scripted.pt")
    torch.export.save(torch.export.export(net, (image,)), home / "net.pt2")
    torch.onnx.export(net, (image,), str(home / "net.onnx"), verbose=False)
    openvino.save_model(openvino.convert_model(home / "net.onnx"), home / "net.xml")
    (home / "birds.txt").write_text("finch\nsparrow\nwren\n")
    (home / "net.py").write_text(NET)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(image_size=64, patch_size=16, id2label={0: "finch", 1: "wren"}, **small)
    transformers.ViTForImageClassification(config).save_pretrained(home / "finch-vit")
    transformers.ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(home / "finch-vit")
    saved("clip", home / "clip")
    hub = home / "torch" / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    torch.save(torchvision.models.squeezenet1_1().state_dict(), hub / "squeezenet1_1-b8a52dc0.pth")
    shutil.copytree(ROOT / "photos", home / "photos")
    return home


@pytest.fixture
def desk(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(files)
    monkeypatch.setenv("TORCH_HOME", str(files / "torch"))
    monkeypatch.setenv("CAMSERVE_MODELS_FOLDERS", str(files / "models"))
    return files


def test_every_recipe_runs(desk: Path) -> None:
    names: dict[str, object] = {}
    for block in blocks(PAGE_FILE, "python"):
        exec(compile(block, PAGE, "exec"), names)


def test_every_command_line_runs(desk: Path) -> None:
    lines = [line for block in blocks(PAGE_FILE, "bash") for line in block.splitlines()]
    assert len(lines) > 10
    for line in lines:
        program, *arguments = shlex.split(line)
        result = CliRunner().invoke(main, arguments)
        assert (program, result.exit_code) == ("camserve", 0), f"{line}: {result.output}"


def sections() -> dict[str, str]:
    """The page's sections by their titles."""
    _, *parts = re.split(r"^## ", PAGE_FILE.read_text(), flags=re.MULTILINE)
    return dict(part.split("\n", 1) for part in parts)


def test_what_is_not_run_is_said_to_be() -> None:
    for title, text in sections().items():
        marked, run = "```python not-run\n" in text, "```python\n" in text
        assert marked == (title in NOT_RUN) == ("*Not run*" in text), title
        assert run or marked or title in ("You have, you write", "Other files"), title


def test_every_section_is_in_the_table_at_the_top() -> None:
    found = sections()
    linked = re.findall(r"\]\(#([^)]+)\)", found["You have, you write"])
    titles = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in found]
    assert linked == titles[1:]
    assert {kind.anchor for kind in KINDS} <= set(titles)


def said(source: str, **options: str) -> str:
    with pytest.raises(CamserveError) as caught:
        camserve.load(source, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [end for kind in KINDS for end in kind.suffixes])
def test_a_file_of_another_kind_is_answered_with_its_recipe(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, name = next(kind for kind in KINDS if suffix in kind.suffixes), f"finch{suffix}"
    expected = f"{kind.what}: {kind.recipe.replace('{path}', name)} ({PAGE}#{kind.anchor})"
    assert f"There is no file '{name}', which would be {expected}" in said(name)
    Path(name).write_bytes(b"bytes of another kind " * 9)
    assert said(name) == f"'{name}' is {expected}"
    weights = said("torchvision:squeezenet1_1", weights=name)
    assert weights == f"cannot load '{name}': it is {expected}" or kind is KINDS[0]
    for command in (["explain", "photo.jpg", "-m"], ["serve", "--port", "0", "--model"]):
        result = CliRunner().invoke(main, [*command, name])
        assert result.exit_code == 1
        assert result.stderr == f"camserve: '{name}' is {expected}\n"
    result = CliRunner().invoke(main, ["add", name, "--folder", "mine"])
    assert result.exit_code == 2
    assert expected in result.stderr or (kind is KINDS[0] and "give --architecture" in result.stderr)


def test_content_counts_where_names_leave_it_open(desk: Path) -> None:
    assert said("scripted.pt").startswith("'scripted.pt' is a TorchScript program")
    assert said("finch.pth").startswith("'finch.pth' is a checkpoint, which needs the architecture")
    assert said("net.bin").startswith("'net.bin' is the weights of OpenVINO's IR: name the .xml beside it")
    assert PAGE in said("torchvision:squeezenet1_1", weights="scripted.pt")
    assert "write 'hf:clip', or 'clip:clip' where" in said("clip")
    result = CliRunner().invoke(main, ["add", "scripted.pt"])
    assert "is a TorchScript program" in result.stderr


def test_a_folder_says_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("open").mkdir()
    Path("open", "open_clip_config.json").touch()
    assert "write 'clip:open'" in said("open")
    Path("exported").mkdir()
    Path("exported", "net.onnx").touch()
    assert "write 'exported/net.onnx'" in said("exported")
    Path("empty").mkdir()
    assert PAGE not in said("empty")
    with zipfile.ZipFile("odd.pt", "w"):  # no program
        pass
    assert said("odd.pt").startswith("'odd.pt' is a checkpoint")
