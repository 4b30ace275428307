"""What covering a suspected place says, at the margins, and kept in JSON."""

import json

import pytest

from camserve.findings.covering import CANNOT_TELL, CONFIRMED, REFUTED, Covering, from_json, to_json, verdict


@pytest.mark.parametrize(
    ("tested", "state"),
    [
        (Covering(8, 0.95, 0.5, 0.95, 8), CONFIRMED),
        (Covering(8, 0.5, 0.39, 0.5, 8), CONFIRMED),  # a cost of 0.22
        (Covering(8, 0.5, 0.41, 0.5, 8), CANNOT_TELL),  # 0.18
        (Covering(8, 0.5, 0.44, 0.5, 8), CANNOT_TELL),  # 0.12
        (Covering(8, 0.5, 0.46, 0.5, 8), REFUTED),  # 0.08
        (Covering(8, 0.57, 0.55, 0.58, 8), REFUTED),
        (Covering(8, 0.9, 0.2, 0.1, 0), REFUTED),  # whatever is covered, the score falls: that place is not special
        (Covering(8, 0.95, 0.5, 0.95, 6), CONFIRMED),
        (Covering(8, 0.95, 0.5, 0.95, 5), CANNOT_TELL),  # a few images decide
        (Covering(4, 0.95, 0.5, 0.95, 4), CONFIRMED),
        (Covering(3, 0.95, 0.5, 0.95, 3), CANNOT_TELL),
        (Covering(8, 0.0, 0.0, 0.0, 0), REFUTED),
        ("its images are gone", CANNOT_TELL),
    ],
)
def test_a_verdict_at_its_margins(tested: Covering | str, state: str) -> None:
    assert verdict(tested)[0] == state
    kept = json.loads(json.dumps(to_json(tested)))
    assert kept["verdict"] == state
    assert from_json(kept) == tested


def test_a_verdict_says_why() -> None:
    assert verdict("its images are gone") == (CANNOT_TELL, "its images are gone")
    assert verdict(Covering(8, 0.95, 0.5, 0.95, 5))[1].endswith("to 0.95, but it costs more in only 5 of 8 images")
    assert verdict(Covering(3, 0.9, 0.5, 0.9, 3))[1] == "it could be covered in only 3 images; at least 4 are needed"
    assert Covering(8, 0.5, 0.4, 0.45, 8).cost == pytest.approx(0.1)


def test_what_earlier_versions_kept_is_read() -> None:
    kept = {"images": 8, "before": 0.9, "covered": 0.2, "elsewhere": 0.9}
    assert verdict(from_json({"covering": kept}))[0] == CONFIRMED
    assert verdict(from_json({"covering": None})) == (CANNOT_TELL, "the run did not cover it")
