"""`camserve serve --check`, and what `camserve serve` refuses at the start."""

import json
import os
import subprocess
import sys
from pathlib import Path

from test_shelf import settings_for

from camserve.web.self_check import try_models

# A network that can be made and loaded, and does not run.
LATE = """
from torch import nn


class Late(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.last = nn.Linear(4, 2)

    def forward(self, images):
        raise ZeroDivisionError("by design")
"""


def add_card(folder: Path, name: str, architecture: str, code: str = "") -> None:
    (folder / name).mkdir()
    (folder / name / "net.py").write_text(code)
    (folder / name / "card.toml").write_text(f'architecture = "{architecture}"\n[input]\nsize = 32\n')


def serve(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """A real `camserve serve`, which is expected to end by itself."""
    command = [sys.executable, "-m", "camserve", "serve", "--port", "0", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )


def test_each_model_has_a_line_and_the_broken_card_is_named(tmp_path: Path) -> None:
    add_card(tmp_path, "bad", "net.py:nonesuch")
    done = serve("--check", CAMSERVE_MODELS_FOLDERS=str(tmp_path), CAMSERVE_SERVE_PRELOAD="efficientnet-lite1")
    assert done.returncode == 1, done.stderr
    first, second, third, painted = done.stdout.splitlines()
    for line, name in ((first, "efficientnet-lite0"), (second, "efficientnet-lite1")):
        words = line.split()
        assert words[0] == f"{name}:"
        assert words[1] in ("torch,", "openvino,")
        assert float(words[2]) > 0
    assert third.startswith("bad: fails: ")
    assert "nonesuch" in third
    assert third.endswith(f"({tmp_path / 'bad' / 'card.toml'})")
    assert painted.startswith("overlays are painted by ")


def test_a_good_setup_passes_and_json_has_the_numbers() -> None:
    done = serve("--check", "--json", CAMSERVE_COMPUTE_ENGINE="torch")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["model"], row["engine"], row["error"]) == ("efficientnet-lite0", "torch", None)
    assert row["milliseconds"] > 0
    assert row["load_milliseconds"] > 0
    assert Path(row["card"]).name == "card.toml"


def test_all_models_are_tried_also_after_one_that_fails(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "one", "two", models=1)
    add_card(tmp_path, "late", "net.py:Late", LATE)
    add_card(tmp_path, "worse", '"')
    found = {trial.model: trial for trial in try_models(settings)}
    assert list(found) == ["one", "late", "two", "worse"]
    assert found["one"].error is found["two"].error is None
    assert "by design" in str(found["late"].error)
    assert "is not valid TOML" in str(found["worse"].error)


def test_a_model_is_tried_with_the_service_s_own_options(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "one")
    for changed, said in (
        ({"method": "legrad"}, "no attention layers"),
        ({"size": 5000}, "explain.max_input_megapixels"),
    ):
        unfit = settings.model_copy(update={"explain": settings.explain.model_copy(update=changed)})
        (trial,) = try_models(unfit)
        assert said in str(trial.error)


def test_a_bad_setting_ends_the_start_and_the_check_alike() -> None:
    for arguments in ((), ("--check",)):
        done = serve(*arguments, CAMSERVE_RENDER_COLORMAP="infrno")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("camserve: bad setting render.colormap = 'infrno': unknown colour map")
        assert len(done.stderr.splitlines()) == 1
        done = serve(*arguments, CAMSERVE_SERVE_PRELOAD="efficientnet-lite9")
        assert (done.returncode, done.stdout) == (2, "")
        assert "serve.preload: unknown model 'efficientnet-lite9'; did you mean" in done.stderr
    assert serve("--json").returncode == 2
