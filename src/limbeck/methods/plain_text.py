"""Docstrings for people at a terminal: roles and marks taken away, equations in plain letters."""

from __future__ import annotations

import re
import textwrap

_MATH = re.compile(r"^\.\. math::(.*(?:\n(?:[ \t]+.*)?)*)", re.MULTILINE)
_FRACTION = re.compile(r"\\t?frac\s*({(?:[^{}]|{[^{}]*})*}|\d)\s*({(?:[^{}]|{[^{}]*})*}|\w)")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])")
_SIGNS = {
    r"\,": " ", r"\;": " ", r"\ ": " ", r"\quad": "    ", r"\qquad": "    ", r"\|": "||", r"\{": "{", r"\}": "}",
    r"\cdot": "*", r"\times": "x", r"\ell": "l", r"\varepsilon": "epsilon",
    r"\in": " in ", r"\leq": "<=", r"\geq": ">=", r"\le": "<=", r"\ge": ">=", r"\to": "->",
}  # fmt: skip


def plain_text(text: str) -> str:
    """A docstring without RST: an equation as an indented line, a reference as the name that it shows."""
    text = _MATH.sub(lambda found: f"{_equation(found[1])}\n\n", text)
    text = re.sub(r":math:`([^`]*)`", lambda found: plain_math(found[1]), text)
    text = re.sub(r":\w+:`~[\w.]*?([\w]+)`", r"\1", text)
    text = re.sub(r":\w+:`([^`]*)`", r"\1", text)
    return text.replace("``", "").rstrip()


def _equation(body: str) -> str:
    """The lines of an equation, cut where it has wide gaps."""
    parts = re.split(r"\\q?quad", " ".join(body.split()))
    return "\n".join(textwrap.indent(plain_math(part).strip(), "    ") for part in parts if part.strip())


def plain_math(text: str) -> str:
    r"""``\frac{T^2}{p} \sum_i`` as ``T^2/p sum_i``."""
    text = _SIZES.sub("", text)
    text = re.sub(r"\\(?:text|mathrm|operatorname)\s*{([^{}]*)}", r"\1", text)
    text = re.sub(r"\\langle\s*", "<", re.sub(r"\s*\\rangle", ">", text))
    text = text.replace(r"\arg\min", "argmin").replace(r"\arg\max", "argmax")
    while (found := _FRACTION.search(text)) is not None:
        over, under = (_grouped(part) for part in found.groups())
        text = f"{text[: found.start()]}{over}/{under} {text[found.end() :]}"
    text = re.sub(r"\\[,;| {}]|\\[a-zA-Z]+", lambda sign: _SIGNS.get(sign[0], sign[0][1:]), text)
    text = re.sub(r"([_^]){([^{}]*)}", lambda part: part[1] + _grouped(f"{{{part[2].strip()}}}"), text)
    return re.sub(r"(?<=\S) {2,}", " ", text)


def _grouped(part: str) -> str:
    """What stands in braces: bare where it is one thing, else in brackets."""
    inner = part.strip("{}").strip() if part.startswith("{") else part
    return inner if re.fullmatch(r"[\w^|\\.]+", inner) else f"({inner})"
