"""Cards of methods in plain words."""

from __future__ import annotations

import re

import pytest

from limbeck.methods.cards import all_cards
from limbeck.methods.plain_text import plain_math, plain_text

DOCSTRING = """Match predictions.

.. math:: L = \\frac{T^2}{p} \\sum_{i\\in b} KL(p_t^{T}(i) \\,\\|\\, p_s(i)), \\quad
    P^* = \\arg\\min \\langle P, M\\rangle

with ``T`` the temperature, see :func:`limbeck.functional.divergence` and :class:`~limbeck.methods.base.Method`;
:math:`\\bar p_t` is a mean."""
PLAIN = """Match predictions.

    L = T^2/p sum_(i in b) KL(p_t^T(i) || p_s(i)),
    P^* = argmin <P, M>

with T the temperature, see limbeck.functional.divergence and Method;
bar p_t is a mean."""


def test_a_docstring_becomes_plain():
    assert plain_text(DOCSTRING) == PLAIN


@pytest.mark.parametrize(
    ("latex", "plain"),
    [(r"\tfrac1{n_b}", "1/n_b"), (r"\frac{a + b}{c}", "(a + b)/c"), (r"\big(\psi_D^s\big)", "(psi_D^s)")],
)
def test_equations(latex, plain):
    assert plain_math(latex).strip() == plain


def test_no_card_shows_marks():
    for card in all_cards():
        shown = "\n".join([card.summary, card.description, card.paper, *(s.text for s in card.settings)])
        assert re.search(r"``|:\w+:`|\\|^\.\. ", shown, re.MULTILINE) is None, card.name
