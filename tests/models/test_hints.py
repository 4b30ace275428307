"""Names that other libraries take are answered with what to write here."""

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import camserve
from camserve.cli import main
from camserve.errors import CamserveError, ModelError, ModelNotFound, UnknownName

URL = "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and in it the folders in which torch and the model hub keep what they have downloaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def said(source: str, weights: str | None = None) -> str:
    with pytest.raises(CamserveError) as caught:
        camserve.load(source, weights=weights)
    return str(caught.value)


def test_an_architecture_s_bare_name() -> None:
    pytest.importorskip("timm")
    for weights in (None, "x.pth"):
        words = said("resnet50", weights)
        assert words.startswith("unknown model 'resnet50'")
        assert words.endswith(
            "'resnet50' is an architecture of torchvision and timm: write 'torchvision:resnet50' or 'timm:resnet50', "
            "with weights=FILE; or `camserve add FILE --architecture torchvision:resnet50`"
        )
    assert "is an architecture of torchvision: write 'torchvision:vit_b_16', with" in said("vit_b_16")
    assert "is an architecture of timm: write 'timm:vit_tiny_patch16_224.augreg_in21k', with weights" in said(
        "vit_tiny_patch16_224.augreg_in21k"
    )


def test_a_model_card_that_is_missing_is_no_architecture() -> None:
    for name in ("finch", "efficientnet-lite", "a.b", "", "def", "_create"):
        assert "is an architecture of" not in said(name)
    with pytest.raises(ModelNotFound):
        camserve.load("finch")


@pytest.mark.parametrize("form", ["google/vit-base-patch16-224", "hf-hub:google/vit-base-patch16-224"])
def test_a_name_on_a_model_hub(form: str) -> None:
    assert said(form).endswith(
        "'google/vit-base-patch16-224' looks like a name on the Hugging Face hub: write 'hf:google/vit-base-patch16-224"
        "', which is taken from the local cache, and downloaded into it only with download=True in Python, --download "
        "on the command line"
    )


@pytest.mark.parametrize("prefix", ["", "hf-hub:", "hf_hub:"])
def test_timm_s_name_on_a_model_hub(prefix: str) -> None:
    words = said(f"{prefix}timm/resnet50.a1_in1k")
    assert "write 'timm:hf-hub:timm/resnet50.a1_in1k', which is taken from the local cache, and downloaded" in words


def test_a_folder_that_lacks_a_card_is_no_name_on_a_hub(caches: Path) -> None:
    (caches / "mine").mkdir()
    assert "Hugging Face" not in said("mine/finch")


@pytest.mark.parametrize("weights", ["DEFAULT", "IMAGENET1K_V2", "ResNet50_Weights.DEFAULT", "pretrained", "True"])
def test_torchvision_s_name_of_weights(weights: str, caches: Path) -> None:
    assert said("torchvision:resnet50", weights=weights) == (
        f"there is no file '{weights}' with weights; camserve downloads none. '{weights}' is torchvision's name of "
        f"{URL}: download that, and give weights=FILE"
    )
    file = Path(torch.hub.get_dir(), "checkpoints", "resnet50-11ad3fa6.pth")
    assert file.is_relative_to(caches)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    assert said("torchvision:resnet50", weights=weights).startswith(
        "cannot load 'resnet50-11ad3fa6.pth': it is damaged"
    )


def test_torchvision_s_own_object_for_weights_is_a_name_as_well() -> None:
    from torchvision.models import ResNet50_Weights

    with pytest.raises(ModelError, match="is torchvision's name of https://download.pytorch.org/models/resnet50-0676b"):
        camserve.load("torchvision:resnet50", weights=ResNet50_Weights.IMAGENET1K_V1)


def test_timm_s_name_of_weights() -> None:
    pytest.importorskip("timm")
    assert said("timm:resnet50", weights="pretrained").endswith(
        "'pretrained' is timm's name of https://huggingface.co/timm/resnet50.a1_in1k/resolve/main/model.safetensors: "
        "download that, and give weights=FILE"
    )
    assert "resnet50.ra_in1k/resolve" in said("timm:resnet50", weights="ra_in1k")


def test_other_names_of_weights_are_files_that_are_missing() -> None:
    for architecture, weights in (("torchvision:resnet50", "gone.pth"), ("pathlib:Path", "gone.pth")):
        assert (
            said(architecture, weights=weights) == "there is no file 'gone.pth' with weights; camserve downloads none"
        )
    assert said("pathlib:Path", weights="DEFAULT").endswith("'DEFAULT' is a name of torchvision's and timm's")


def test_timm_s_tags() -> None:
    pytest.importorskip("timm")
    with pytest.raises(UnknownName, match="unknown tag of timm's resnet50 'a1_in2k'; did you mean 'a1_in1k'"):
        camserve.load("timm:resnet50.a1_in2k")
    with pytest.raises(UnknownName, match=re.escape("'timm/resnet50.a1_in1k'; did you mean 'resnet50.a1_in1k'?")):
        camserve.load("timm:timm/resnet50.a1_in1k")


def test_the_command_line_says_the_same() -> None:
    Path("x.pth").write_bytes(b"")
    result = CliRunner().invoke(main, ["add", "x.pth", "-a", "resnet50", "--folder", "mine"])
    assert result.exit_code == 2
    assert "'resnet50' is an architecture of torchvision" in result.stderr
    result = CliRunner().invoke(main, ["layers", "resnet50"])
    assert "'resnet50' is an architecture of torchvision" in result.stderr
