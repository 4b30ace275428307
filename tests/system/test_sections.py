"""A section of a TOML file is written anew, and the rest stays as it is, byte for byte."""

from pathlib import Path

import pytest

from camserve.errors import OutputError
from camserve.system.toml_sections import with_section, write_section


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("", "[p]\nx = 2\n"),
        ("a = 1", "a = 1\n\n[p]\nx = 2\n"),
        ("a = 1  # one\n", "a = 1  # one\n\n[p]\nx = 2\n"),
        ("a = 1\r\n[[k]]\r\n", "a = 1\r\n[[k]]\r\n\r\n[p]\r\nx = 2\r\n"),
        ("[p]", "[p]\nx = 2\n"),
        ("[p] # c\nx = [1,\n 2]\n\n# of k\n[[k]]\nb = 1\n", "[p]\nx = 2\n\n# of k\n[[k]]\nb = 1\n"),
        ("[p]\n# why\nx = 1\n# end", "[p]\nx = 2\n# end"),
        ("[p]\n[q]\nx = 1\n", "[p]\nx = 2\n[q]\nx = 1\n"),
        ("[pp]\nx = 1\n\n[ p ]\nx = 1\n\n\n", "[pp]\nx = 1\n\n[p]\nx = 2\n\n\n"),
    ],
)
def test_a_section_is_written_and_the_rest_kept(text: str, changed: str, tmp_path: Path) -> None:
    assert with_section(text, "p", {"x": 2}) == changed
    file = tmp_path / "card.toml"
    file.write_bytes(text.encode())
    write_section(file, "p", {"x": 2})
    assert file.read_bytes() == changed.encode()
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_kept_is_not_changed(tmp_path: Path) -> None:
    file = tmp_path / "card.toml"
    odd = 'note = """\n[p]\n"""\nb = 1\n'
    file.write_text(odd)
    with pytest.raises(OutputError, match=r"write it by hand: \[p\]; x = 2"):
        write_section(file, "p", {"x": 2})
    assert file.read_text() == odd
    with pytest.raises(OutputError, match="cannot read"):
        write_section(tmp_path / "gone.toml", "p", {"x": 2})
