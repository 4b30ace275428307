"""Checkpoints as people have them: what is found in them, and what is said of those that do not fit."""

import datetime
import enum
import re
import runpy
import subprocess
import sys
import time
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from datetime import UTC
from decimal import Decimal
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from camserve.errors import ModelError
from camserve.models.architectures.by_name import build
from camserve.models.weights.checkpoints import Checkpoint, read_checkpoint
from camserve.models.weights.state_dicts import classes_of, fill, fit


def net(classes: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


WEIGHTS = net().state_dict()


def under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + key: tensor for key, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("content", "within"),
    [
        (WEIGHTS, ""),
        ({"state_dict": WEIGHTS, "epoch": 3, "best": 0.9}, "state_dict"),
        ({"model": WEIGHTS, "args": Namespace(lr=0.1, data=["a"])}, "model"),
        ({"model_state_dict": WEIGHTS, "step": torch.tensor(7)}, "model_state_dict"),
        ({"net": WEIGHTS, "optimizer": torch.optim.Adam(net().parameters()).state_dict()}, "net"),
        ({"model": {"state_dict": WEIGHTS}}, "model.state_dict"),
        ({"whatever": WEIGHTS}, "whatever"),
        ({"ema": WEIGHTS, "epoch": 3}, "ema"),
        ({"model_ema": net().state_dict(), "model": WEIGHTS}, "model"),
        ({"state_dict_ema": net().state_dict(), "state_dict": WEIGHTS}, "state_dict"),
    ],
)
@pytest.mark.parametrize("ending", ["pth", "pt", "th", "bin"])
def test_the_state_dict_is_found(tmp_path: Path, content: Any, within: str, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    torch.save(content, path)
    found = read_checkpoint(path)
    assert found.within == within
    assert list(found.tensors) == list(WEIGHTS)
    assert all(torch.equal(found.tensors[key], WEIGHTS[key]) for key in WEIGHTS)


def other() -> dict[str, torch.Tensor]:
    return {key: tensor + 1 for key, tensor in WEIGHTS.items()}


@pytest.mark.parametrize(
    ("content", "key", "within"),
    [
        ({"generator": WEIGHTS, "discriminator": other()}, "generator", "generator"),
        ({"state_dict_ema": WEIGHTS, "state_dict": other()}, "state_dict_ema", "state_dict_ema"),
        ({"ema": {"state_dict": WEIGHTS, "decay": 0.9}, "model": other()}, "ema.state_dict", "ema.state_dict"),
        ({"ema": {"state_dict": WEIGHTS, "decay": 0.9}, "model": other()}, "ema", "ema.state_dict"),
        ({**under("student.", WEIGHTS), **under("teacher.", other())}, "student", "student"),
        ({**under("student.", WEIGHTS), **under("teacher.", other())}, "student.", "student"),
        ({"state_dict": {**under("a.b.", WEIGHTS), **under("a.c.", other())}}, "a.b", "state_dict.a.b"),
        ({"state_dict": {**under("a.b.", WEIGHTS), **under("a.c.", other())}}, "state_dict.a.b", "state_dict.a.b"),
    ],
)
def test_a_key_says_which_of_several_networks_is_meant(tmp_path: Path, content: Any, key: str, within: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth", key)
    assert found.within == within
    assert list(found.tensors) == list(WEIGHTS)
    assert all(torch.equal(found.tensors[name], WEIGHTS[name]) for name in WEIGHTS)


def test_a_key_keeps_the_versions_of_its_own_part(tmp_path: Path) -> None:
    torch.save(nn.ModuleDict({"student": net(), "teacher": net()}).state_dict(), tmp_path / "x.pth")
    found = read_checkpoint(tmp_path / "x.pth", "teacher")
    assert found.versions is not None
    assert {key: dict(value) for key, value in found.versions.items()} == {
        key: dict(value)
        for key, value in WEIGHTS._metadata.items()  # type: ignore[attr-defined]
    }


@pytest.mark.parametrize(
    ("content", "key", "message"),
    [
        ({"a": WEIGHTS, "b": WEIGHTS}, "c", "'x.pth' has no weights under key 'c'; it holds state dicts under 'a', "),
        (WEIGHTS, "c", "'x.pth' has no weights under key 'c'; it holds weights whose names begin with '0', '1', '4'"),
        ({"epoch": 1}, "c", "'x.pth' has no weights under key 'c'; it holds no weights by name"),
        ({"a": {"x": WEIGHTS, "y": WEIGHTS}}, "a", "'x.pth' holds several state dicts under 'a': 'a.x', 'a.y'; give"),
        ({"a": {**under("m.", WEIGHTS)}, "b": {**under("m.", WEIGHTS)}}, "m", "under 'm': 'a.m', 'b.m'; give one of"),
    ],
)  # fmt: skip
def test_a_key_that_is_not_there_says_what_is(tmp_path: Path, content: Any, key: str, message: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path / "x.pth", key)
    assert message in str(caught.value)


def test_old_files_and_safetensors_are_told_from_their_content(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "old.tar", _use_new_zipfile_serialization=False)
    save_file(WEIGHTS, tmp_path / "safe.bin")
    for name in ("old.tar", "safe.bin"):
        assert sorted(read_checkpoint(tmp_path / name).tensors) == sorted(WEIGHTS)


def test_reading_leaves_the_process_s_list_of_allowed_classes_as_it_was(tmp_path: Path) -> None:
    torch.save({"model": WEIGHTS, "args": Namespace(a=1)}, tmp_path / "x.pth")
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(tmp_path / "x.pth")
    assert set(torch.serialization.get_safe_globals()) == before
    with torch.serialization.safe_globals([Namespace]):
        read_checkpoint(tmp_path / "x.pth")
        assert Namespace in torch.serialization.get_safe_globals()


class Evil:
    """Unpickling it would make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        import os

        return os.mkdir, (str(self.folder),)


SAVE = "save the weights alone: torch.save(model.state_dict(), 'weights.pth')"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (net(), f"cannot load 'x.pth': it holds not only weights but a Python object (torch.nn.modules.container."
                f"Sequential), and camserve never runs code from a file. On the machine that made it, or if you "
                f"trust it, load it in Python and {SAVE}"),
        ({"model": net(), "epoch": 3}, "a Python object (torch.nn.modules.container.Sequential), and camserve never"),
        ({"ema": net(), "loss": {"weight": torch.ones(3)}}, "a Python object (torch.nn.modules.container.Sequential)"),
        ({"epoch": np.float64(3)}, "a Python object (numpy._core.multiarray.scalar)"),
        ({key: tensor.numpy() for key, tensor in WEIGHTS.items()}, "object (numpy._core.multiarray._reconstruct), "),
        ({"epoch": 3}, "'x.pth' holds no weights by name, but the keys 'epoch'; save them so: torch.save("),
        ([WEIGHTS["0.bias"]], "'x.pth' holds no weights by name, but a list"),
        (WEIGHTS["0.bias"], "'x.pth' holds no weights by name, but a Tensor"),
        ({}, "'x.pth' holds no weights by name, but nothing"),
        ({"student": WEIGHTS, "teacher": WEIGHTS, "ema": WEIGHTS},
         "'x.pth' holds several state dicts: 'student', 'teacher', 'ema'; say which one with key, as in key='student' "
         "or --key student"),
    ],
)  # fmt: skip
def test_what_holds_no_weights_says_what_it_holds(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        read_checkpoint(tmp_path / "x.pth")
    assert message in str(caught.value)


def test_a_file_that_asks_the_system_for_something_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "x": Evil(tmp_path / "pwned")}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=r"cannot load 'x\.pth'.*\((posix|nt)\.mkdir\).*never runs code"):
        read_checkpoint(tmp_path / "x.pth")
    assert not (tmp_path / "pwned").exists()


def test_a_method_of_a_class_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": WEIGHTS, "x": Asks(Path.touch, tmp_path / "pwned")}, tmp_path / "x.pth")
    with pytest.raises(ModelError, match=r"a Python object \(of a class inside another, or made by a method\), and"):
        read_checkpoint(tmp_path / "x.pth")
    assert not (tmp_path / "pwned").exists()


class Asks:
    """Unpickling it would call a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.what = function, arguments

    def __reduce__(self) -> Any:
        return self.what


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_run_or_imported(tmp_path: Path, zipped: bool) -> None:
    """Each would leave a file; and the module of one leaves a file where it is imported."""
    mark = tmp_path / "pwned"
    (tmp_path / "evil_module.py").write_text(f"open({str(mark)!r}, 'w')\nclass Evil: pass")
    code = f"open({str(mark)!r}, 'w')"
    command = [sys.executable, "-c", code]
    attempts = [
        Asks(exec, code), Asks(eval, code), Asks(open, str(mark), "w"), Asks(getattr, Path, "home"),
        Asks(subprocess.Popen, command), Asks(runpy.run_path, str(tmp_path / "evil_module.py")),
    ]  # fmt: skip
    torch.save({"state_dict": WEIGHTS, "x": attempts}, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    subprocess.run([sys.executable, "-c", f"import sys, torch; sys.path.append({str(tmp_path)!r}); import evil_module; "
                    f"torch.save({{'state_dict': {{'a': torch.ones(1)}}, 'x': evil_module.Evil()}}, 'y.pth')"],
                   cwd=tmp_path, check=True)  # fmt: skip
    mark.unlink()
    sys.path.append(str(tmp_path))
    try:
        assert list(read_checkpoint(tmp_path / "x.pth").tensors) == list(WEIGHTS)
        assert list(read_checkpoint(tmp_path / "y.pth").tensors) == ["a"]
    finally:
        sys.path.remove(str(tmp_path))
    time.sleep(0.5)  # a program started would take a while
    assert not mark.exists()
    assert "evil_module" not in sys.modules


class Mode(enum.Enum):
    TRAIN = 1


class Config(dict[str, Any]):
    """A dict with attributes of its own."""


BESIDE = {
    "best": np.float64(0.9), "epoch": np.int64(3), "confusion": np.eye(3), "names": np.array(["a", "b"], dtype=object),
    "root": Path("runs/3"), "data": PureWindowsPath("C:/data"), "when": datetime.datetime(2026, 3, 1, tzinfo=UTC),
    "day": datetime.date(2026, 3, 1), "took": datetime.timedelta(seconds=3), "history": defaultdict(list, loss=[0.5]),
    "counts": Counter("abc"), "order": OrderedDict(a=1), "args": Namespace(lr=0.1), "mode": Mode.TRAIN,
    "seen": {np.int64(3), np.int64(4)}, "config": Config(lr=0.1), "queue": deque([1, 2]), "exact": Decimal("0.1"),
    "type": np.dtype("float32"), "class": dict, "random": np.random.default_rng(0),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_a_training_script_keeps_beside_the_weights_is_skipped(tmp_path: Path, beside: str, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({beside: BESIDE[beside], "state_dict": WEIGHTS}, path, _use_new_zipfile_serialization=zipped)
    assert list(read_checkpoint(path).tensors) == list(WEIGHTS)


def test_weights_in_a_dict_of_an_unknown_kind_are_found(tmp_path: Path) -> None:
    for kind in (Config, lambda items: defaultdict(list, items)):
        torch.save({"model": kind(WEIGHTS), **BESIDE}, tmp_path / "x.pth")
        assert list(read_checkpoint(tmp_path / "x.pth").tensors) == list(WEIGHTS)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_a_torchscript_program_is_named_as_one(tmp_path: Path) -> None:
    torch.jit.script(net()).save(tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"it is a TorchScript program. Open it with torch.jit.load and save its weig"):
        read_checkpoint(tmp_path / "x.pt")


def test_damaged_files_are_named_as_such(tmp_path: Path) -> None:
    whole, safe, part = tmp_path / "whole.pth", tmp_path / "safe", tmp_path / "part.pth"
    torch.save(WEIGHTS, whole)
    save_file(WEIGHTS, safe)
    contents = whole.read_bytes()[:-200], b"", b"<!DOCTYPE html> not found", whole.read_bytes()[:20]
    for content in contents:
        part.write_bytes(content)
        with pytest.raises(
            ModelError, match="cannot load 'part.pth': it is damaged, or not a file of torch.save or sa"
        ):
            read_checkpoint(part)
    part.write_bytes(safe.read_bytes()[:-4])
    with pytest.raises(ModelError, match="cannot load 'part.pth': damaged, or not a safetensors file: .*incomplete"):
        read_checkpoint(part)
    part.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    with pytest.raises(ModelError, match="it is a Git LFS pointer, not the file itself: git lfs pull"):
        read_checkpoint(part)


def checkpoint(tensors: Mapping[str, torch.Tensor]) -> Checkpoint:
    return Checkpoint("x.pth", tensors, versions=getattr(tensors, "_metadata", None))


@pytest.mark.parametrize(
    "prefix", ["", "module.", "_orig_mod.", "model.", "net.", "backbone.", "module._orig_mod.model.", "my.own.wrapper."]
)
def test_a_prefix_that_wrapping_left_is_taken_off(prefix: str) -> None:
    network = net()
    fitted, taken = fit(checkpoint(under(prefix, WEIGHTS)), network)
    assert taken == prefix
    fill(network, fitted, "net")
    assert all(torch.equal(tensor, WEIGHTS[key]) for key, tensor in network.state_dict().items())


def test_a_prefix_that_is_the_network_s_own_stays() -> None:
    network = nn.ModuleDict({"model": net()})
    fitted, taken = fit(checkpoint(under("model.", WEIGHTS)), network)
    assert taken == ""
    fill(network, fitted, "net")


def test_what_lies_beside_the_prefix_belongs_to_something_else() -> None:
    network = net()
    fitted, taken = fit(checkpoint({**under("model.", WEIGHTS), "loss.weight": torch.ones(3)}), network)
    assert taken == "model."
    fill(network, fitted, "net")


def test_two_networks_in_one_file_are_not_guessed_between() -> None:
    with pytest.raises(
        ModelError,
        match="'x.pth' holds several such networks, under 'student.', 'teacher.'; say which "
        "one with key, as in key='student' or --key student",
    ):
        fit(checkpoint({**under("teacher.", WEIGHTS), **under("student.", WEIGHTS)}), net())


def test_counts_that_take_no_part_in_an_answer_may_be_missing_or_too_many() -> None:
    tensors = {key: tensor for key, tensor in WEIGHTS.items() if not key.endswith("num_batches_tracked")}
    network = net()
    fill(network, fit(checkpoint({**tensors, "0.total_ops": torch.zeros(1)}), network)[0], "net")


def test_half_precision_becomes_the_network_s_own() -> None:
    network = net()
    fill(network, fit(checkpoint({key: tensor.half() for key, tensor in WEIGHTS.items()}), network)[0], "net")
    assert network[0].weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "gone", "message"),
    [
        ({}, ["0.weight"], "'x.pth' does not fit 'net': 1 key is missing ('0.weight'). Name the architecture that"),
        ({"7.weight": torch.ones(1)}, [], "'x.pth' does not fit 'net': 1 key is unexpected ('7.weight'). Name"),
        ({"0.weight": torch.ones(4, 3, 5, 5)}, [], "'x.pth' does not fit 'net': 1 key is of another shape ('0.weight' "
                                                   "is (4, 3, 5, 5) and should be (4, 3, 3, 3)). Name the architectu"),
        ({f"{i}.x": torch.ones(1) for i in range(7, 12)}, ["0.weight", "0.bias"],
         "2 keys are missing ('0.weight', '0.bias'); 5 keys are unexpected ('7.x', '8.x', '9.x' and 2 more)"),
        ({"4.weight": torch.ones(5, 4), "4.bias": torch.ones(5)}, [],
         "2 keys are of another shape ('4.weight' is (5, 4) and should be (3, 4), '4.bias' is (5,) and should be (3,))"
         ". If the file knows 5 classes, let the factory take num_classes, or make that many"),
        ({"a.b": torch.ones(1)}, list(WEIGHTS), "1 key is unexpected ('a.b'). They have no key in common: name the"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_say_where(changes: dict[str, torch.Tensor], gone: list[str], message: str) -> None:
    tensors = {key: tensor for key, tensor in {**WEIGHTS, **changes}.items() if key not in gone}
    network = net()
    with pytest.raises(ModelError, match=re.escape(message)):
        fill(network, fit(checkpoint(tensors), network)[0], "net")


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v2", "densenet121", "vgg11", "vit_b_32"])
def test_the_number_of_classes_is_found_at_the_head(name: str) -> None:
    network = build(f"torchvision:{name}", 5)
    fitted, _ = fit(checkpoint(under("module.", network.state_dict())), build(f"torchvision:{name}", 10))
    assert classes_of(fitted, build(f"torchvision:{name}", 10)) == 5
    assert classes_of(fitted, network) is None


def test_another_width_is_no_number_of_classes() -> None:
    wide = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Flatten(), nn.Linear(8, 3))
    assert classes_of(checkpoint(wide.state_dict()), net()) is None
    assert classes_of(checkpoint({"4.bias": torch.tensor(1.0)}), net()) is None


@pytest.mark.parametrize("name", ["inception_v3", "googlenet"])
def test_auxiliary_heads_are_left_out(name: str) -> None:
    from torchvision import models

    trained = models.get_model(name, weights=None, init_weights=False, num_classes=5)
    assert trained.aux_logits
    network = build(f"torchvision:{name}", 5)
    fill(network, fit(checkpoint(trained.state_dict()), network)[0], name)
    assert torch.equal(network.get_parameter("fc.weight"), trained.fc.weight)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_an_old_densenet_is_read_under_the_names_of_today(prefix: str) -> None:
    trained, network = (build("torchvision:densenet121", 4) for _ in range(2))
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", k): v for k, v in trained.state_dict().items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    fill(network, fit(checkpoint(under(prefix, old)), network)[0], "densenet121")
    name = "classifier.weight"
    assert torch.equal(network.get_parameter(name), trained.get_parameter(name))


@pytest.mark.parametrize("keep_versions", [True, False])
def test_a_network_that_asks_for_the_version_of_its_weights_gets_it(keep_versions: bool) -> None:
    """mnasnet refuses a state dict without versions, which safetensors cannot hold."""
    trained, network = (build("torchvision:mnasnet0_5", 4) for _ in range(2))
    weights = trained.state_dict() if keep_versions else dict(trained.state_dict())
    fill(network, fit(checkpoint(weights), network)[0], "mnasnet0_5")


def test_a_network_that_renames_keys_itself_says_which_shapes_differ() -> None:
    from camserve.nets import efficientnet_lite1

    other = efficientnet_lite1()
    with pytest.raises(
        ModelError, match=r"160 keys are of another shape \('blocks.3.depthwise.conv.weight' is \(144, 1, 5"
    ):
        fill(other, fit(checkpoint(published()), other)[0], "efficientnet_lite1")


def published() -> Mapping[str, torch.Tensor]:
    """The embedded weights under the names they were published with."""
    from camserve.config import shipped
    from camserve.models.card import read_card, resolve_file

    card = shipped("models") / "efficientnet-lite0" / "card.toml"
    weights = read_card(card).weights
    assert weights is not None
    return read_checkpoint(resolve_file(weights, card)).tensors
