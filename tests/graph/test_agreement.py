"""How far two answers are apart, on paper."""

import pytest
import torch

from camserve.graph.original.agreement import apart, same


def test_answers_are_apart_by_a_share_of_what_they_say() -> None:
    theirs = torch.tensor([[1.0, 2.0, 4.0]])
    assert apart(torch.tensor([[1.0, 2.0, 5.0]]), theirs) == pytest.approx((1 - 4e-6 * 4) / 3, abs=1e-12)
    assert apart(theirs, theirs) == 0
    assert apart(theirs[:, :2], theirs) == float("inf")
    assert apart(torch.tensor([[3.0, 3.0]]), torch.tensor([[2.0, 2.0]])) == pytest.approx(0.5, abs=1e-5)  # no spread
    assert apart(torch.ones(1, 2), torch.zeros(1, 2)) == float("inf")
    assert apart(torch.zeros(0, 2), torch.zeros(0, 2)) == 0


def test_rounding_of_large_values_that_differ_little_is_none() -> None:
    theirs = torch.tensor([[1000.001, 1000.002]])
    assert apart(theirs + 0.003, theirs) == 0
    assert apart(theirs + 0.006, theirs) > 1


def test_values_that_are_no_numbers_are_so_in_both() -> None:
    nan = float("nan")
    theirs = torch.tensor([[nan, 0.0, 2.0]])
    assert apart(torch.tensor([[nan, 0.0, 3.0]]), theirs) == pytest.approx(0.5, abs=1e-5)
    assert apart(torch.tensor([[0.0, 0.0, 2.0]]), theirs) == float("inf")
    assert apart(torch.tensor([[nan, nan, 2.0]]), theirs) == float("inf")


def test_a_class_that_is_ruled_out_hides_no_difference() -> None:
    theirs = torch.tensor([[float("-inf"), 0.0, 2.0]])
    assert apart(torch.tensor([[float("-inf"), 0.0, 3.0]]), theirs) == pytest.approx(0.5, abs=1e-5)
    assert apart(theirs, theirs) == 0
    assert apart(torch.tensor([[float("inf"), 0.0, 2.0]]), theirs) == float("inf")
    assert apart(torch.tensor([[-9.0, 0.0, 2.0]]), theirs) == float("inf")


def test_no_answer_is_the_same_as_no_answer_alone() -> None:
    assert same(None, None)
    assert not same(None, torch.zeros(1, 2))
    assert not same(torch.zeros(1, 2), None)
