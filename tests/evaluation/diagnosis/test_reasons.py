"""Each verdict and each reason, provoked by a case made for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from limbeck.evaluation.diagnosis.reasons import helps_more


def one_class(classes: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(classes)


def exchanged(classes: torch.Tensor) -> torch.Tensor:
    return torch.tensor([1, 0, 2, 3])[classes]


CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str, list[str]]] = {
    "right pairs": ({}, {"alone": 0.6}, "helps", []),
    "right bags": ({"link": "bagged"}, {"alone": 0.6}, "helps", []),
    "by class": ({"link": "by_class"}, {"alone": 0.6}, "cannot help", ["nothing_linked"]),
    "unpaired": ({"link": "unpaired"}, {"alone": 0.6}, "cannot help", ["nothing_linked"]),
    "a student that knows": ({}, {"alone": 0.99}, "cannot help", ["no_headroom"]),
    "wrong pairs": ({"wrong": 0.7}, {"alone": 0.6}, "may help", ["wrong_links"]),
    "half of the bags wrong": (
        {"link": "bagged", "wrong": 0.5}, {"alone": 0.6}, "helps", ["wrong_links"]
    ),
    "another domain": ({"says": one_class}, {"alone": 0.6}, "cannot help", ["wrong_domain"]),
    "a weak teacher": (
        {"right": 0.5, "labels": 5}, {"alone": 0.3, "own": 0.6}, "likely helps", ["weak_teacher"]
    ),
    "inputs without the class": ({"sees_class": False}, {"alone": 0.3}, "may help", ["inputs_lack_the_class"]),
    "exchanged classes": (
        {"says": exchanged, "labels": 5, "spread": 0.5}, {"alone": 0.7, "own": 0.5}, "cannot help",
        ["exchanged_classes"],
    ),
    "exchanged classes in bags": (
        {"says": exchanged, "link": "bagged", "labels": 5, "spread": 0.5}, {"alone": 0.7, "own": 0.5},
        "cannot help", ["exchanged_classes"],
    ),
    "few pairs": (
        {"n": 16, "labels": 5}, {"alone": 0.6}, "helps", ["few_linked_rows", "few_linked_labels"]
    ),
    "even bags": ({"link": "bagged", "even": True}, {"alone": 0.6}, "may help", ["even_bags"]),
    "few bags": ({"link": "bagged", "n": 64}, {"alone": 0.6}, "likely helps", ["few_bags"]),
    "few judges": ({"n_validation": 20}, {"alone": 0.6}, "likely helps", ["few_judges"]),
    "nobody to judge": (
        {"n_validation": 0}, {"truth": False}, "cannot be told", ["few_judges", "few_linked_labels"]
    ),
    "no labels but judges": ({"labels": 0}, {}, "helps", []),
    "no labels at all": (
        {"labels": 0, "n_validation": 0}, {"truth": False}, "cannot be told", ["few_judges", "few_linked_labels"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_verdict_and_reasons(name: str, case: Callable[..., Any]) -> None:
    made, known, verdict, reasons = CASES[name]
    found = case(**made)
    assert found.examined(**known).evidence.expectation.verdict == verdict
    assert found.reasons(**known) == reasons


def test_a_teacher_without_predictions_cannot_be_told_of(case: Callable[..., Any]) -> None:
    from dataclasses import replace

    from limbeck.evaluation.diagnosis.reasons import reasons

    evidence = replace(case().examined(alone=0.6).evidence, has_predictions=False)
    assert [reason.name for reason in reasons(evidence)] == ["no_predictions"]


def test_the_exchanged_classes_are_named(case: Callable[..., Any]) -> None:
    from limbeck.evaluation.diagnosis.reasons import reasons

    found = case(says=exchanged, labels=5, spread=0.5).examined(alone=0.7)
    assert "ant -> bee, bee -> ant" in reasons(found.evidence)[0].sentence


def test_what_would_bring_more_is_the_factor_that_is_small(case: Callable[..., Any]) -> None:
    def found(alone: float = 0.3, **made: Any) -> list[str]:
        return list(helps_more(case(**made).examined(alone=alone).evidence))

    assert "many times the 16 linked rows" in found(n=16, labels=5, alone=0.6)
    assert "a perfect teacher and pairs that are all right" in found(right=0.6, n=800)
    assert "pairs in place of bags" in found(link="bagged", bag_size=16, alone=0.6)
    assert found(sees_class=False, labels=20) == []  # the pilot is the limit, and labels tell nothing either
    assert "twice the labels" in found(labels=4, spread=0.8)
    assert "twice the labels" not in found(labels=100, spread=0.5)
