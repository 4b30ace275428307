"""What people cite and fill in agrees with the project."""

from pathlib import Path

import yaml

import camserve

ROOT = Path(camserve.__file__).parents[1]


def test_the_citation_names_this_version_and_licence() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["version"] == camserve.__version__
    assert f'license = "{cited["license"]}"' in (ROOT / "pyproject.toml").read_text()


def test_templates_name_commands_that_there_are() -> None:
    from camserve.cli import main

    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / "wrong-explanation.md").read_text()
    for command in ("inspect", "sanity"):
        assert f"camserve {command} MODEL" in text
        assert command in main.commands
