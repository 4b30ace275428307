"""How many answers are right, class by class, and which are the worst: by hand."""

from typing import Any

import pytest
from test_findings import NAMES, blob, found, row

from camserve.findings.answers import WORST, count_answers
from camserve.findings.confusion import MATRIX, Confusion
from camserve.findings.findings import to_dict


def shown(expected: int, predicted: int, score: float = 0.5, name: str = "a") -> Any:
    return row(predicted, blob(2, 2), expected=expected, score=score, name=name)


def test_right_answers_are_counted_where_classes_are_known() -> None:
    failed = {"file": "f", "status": "failed", "error": "broken", "code": "bad_image"}
    right, wrong, unknown = shown(0, 0, 0.4), shown(1, 0, 0.9), row(2, blob(2, 2))
    answers = count_answers([right, wrong, wrong, unknown, failed])
    assert (answers.known, answers.right, answers.unknown, answers.accuracy) == (3, 1, 1, 1 / 3)
    assert answers.in_words == "1 of 3 right (33 %), 1 more without a known class"
    assert (answers.unsure, count_answers([{**right, "unsure": True}, wrong, failed]).unsure) == (0, 1)
    assert count_answers([right, wrong]).in_words == "1 of 2 right (50 %)"
    assert [one["class_name"] for one in answers.surest] == ["cat", "cat", "owl"]  # less sure ones are not named
    assert count_answers([unknown, failed]).in_words == ""
    facts = to_dict(found([right, wrong]), [right, wrong])["answers"]
    assert facts == count_answers([right, wrong]).to_dict()
    assert facts["accuracy"] == 0.5


def test_recall_precision_and_the_matrix_by_hand() -> None:
    # cat: 3 of 4 right, once a dog; dog: 1 of 2, once a cat; owl: never shown, answered once, for a cat
    rows = [shown(0, 0)] * 3 + [shown(0, 2), shown(1, 1), shown(1, 0)]
    facts = count_answers(rows).to_dict()
    assert [(one["class_name"], one["images"], one["right"], one["answered"]) for one in facts["classes"]] == [
        ("dog", 2, 1, 1), ("cat", 4, 3, 4), ("owl", 0, 0, 1),
    ]  # fmt: skip
    assert [(one["recall"], one["precision"]) for one in facts["classes"]] == [(0.5, 1), (0.75, 0.75), (None, 0)]
    assert facts["matrix"] == {"classes": list(NAMES), "counts": [[3, 0, 1], [1, 1, 0], [0, 0, 0]]}
    assert [(one["expected"], one["predicted"], one["count"], one["of"]) for one in facts["confusions"]] == [
        ("cat", "owl", 1, 4), ("dog", "cat", 1, 2),
    ]  # fmt: skip


def test_the_most_frequent_confusions_come_first_and_a_large_matrix_is_left_out() -> None:
    confusion = Confusion()
    for index in range(MATRIX + 1):
        for _ in range(1 + index % 3):
            shown_one, said = ({"class_index": each, "class_name": str(each)} for each in (index, 0))
            confusion.add(shown_one, said)
    assert confusion.matrix is None
    counts = [one["count"] for one in confusion.pairs]
    assert counts == sorted(counts, reverse=True)
    assert (len(counts), counts[0]) == (MATRIX, 3)


def test_the_worst_are_wrong_answers_the_surest_first() -> None:
    rows = [shown(1, 0, number / 100, str(number)) for number in range(WORST + 5)] + [shown(0, 0, 1.0, "right")]
    worst = count_answers(rows).worst
    assert [one["file"] for one in worst] == [str(number) for number in reversed(range(5, WORST + 5))]
    assert worst[0] == {
        "file": "24", "score": pytest.approx(0.24), "predicted": "cat", "expected": "dog",
        "expected_score": pytest.approx(0.24),
    }  # fmt: skip
    none = shown(1, 0)
    none["predicted"] = {**none["predicted"], "score": None}  # numbers that are no scores
    assert [one["score"] for one in count_answers([none, shown(1, 0, 0.1)]).worst] == [0.1, None]
