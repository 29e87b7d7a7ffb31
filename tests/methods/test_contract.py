"""What holds for every method of the registry."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.methods import registry
from limbeck.methods.base import UNITS
from limbeck.methods.registry import METHODS, method_card, method_class, method_config
from limbeck.signals.output import ACCESS_OF_SIGNAL
from limbeck.signals.pairing import LINKS
from limbeck.training.sampler import Draw
from limbeck.training.trainer import streams

WITH_LINKS = [(name, link) for name in METHODS for link in sorted(method_class(name).links or {"unpaired"})]


def step(
    toy: ModuleType, bank: Bank, name: str, link: str, draws: list[Draw] | None = None, **config: Any
) -> tuple[Any, dict[str, Any]]:
    """A distiller in training mode and a collated batch for it: 5 labelled rows and 2 units, or the given draws."""
    cls = method_class(name)
    teacher = bank if cls.links else None
    made = toy.distiller(name, teacher, config=config).train()
    collate = toy.collator(link, teacher, needs_ema=cls.needs_ema)
    if draws is None:
        labelled, units = streams(collate, cls.links)
        rows = [("labelled", row) for row in labelled[:5]] + [
            ("unlabelled", row) for u in units[:2] for row in u
        ]
        draws = [Draw(stream, row, 0, slot) for slot, (stream, row) in enumerate(rows)]
    batch = collate(draws)
    return made, {k: v for k, v in batch.items() if k not in ("keys", "counts")}


def terms(
    made: Any, batch: dict[str, Any], progress: float = 0.9
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Every term with its graph."""
    b = made._step_batch(
        batch["labels"], {k: v for k, v in batch.items() if k not in ("inputs", "labels")}, progress, 0
    )
    b.student = made.student(batch["inputs"])
    return made.method.losses(b), made.method.weights(progress)


# ---- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_the_card_is_complete(name: str) -> None:
    card, cls = method_card(name), method_class(name)
    assert card.summary.endswith(".")
    assert ".. math::" in card.description
    assert re.search(r"Paper: .{5,}", card.description)
    assert (set(card.needs), set(card.links), dict(card.units)) == (
        set(cls.needs),
        set(cls.links),
        dict(cls.units),
    )
    for field in fields(cls.Config):
        assert re.search(rf"\b{field.name}\b", card.config), f"{field.name} is not in the config's docstring"
    lines = Path(registry.__file__).with_name(f"{name}.py").read_text().splitlines()
    assert len(lines) < 200


@pytest.mark.parametrize("name", METHODS)
def test_declarations_are_valid(name: str) -> None:
    cls = method_class(name)
    assert set(cls.needs) <= set(ACCESS_OF_SIGNAL)
    assert set(cls.links) <= set(LINKS)
    assert set(cls.units.values()) <= set(UNITS)
    assert bool(cls.needs) == bool(cls.links)


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys, limbeck.methods.registry as r\n"
        "cards = [r.method_card(name) for name in r.METHODS]\n"
        "assert len(cards) >= 6\n"
        "assert not {'torch', 'transformers', 'numpy', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- config -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_config_round_trips(name: str) -> None:
    config = method_config(name)
    assert method_config(name, asdict(config)) == config
    for field in fields(config):  # every weight must be settable by its name, to 0 too
        if field.name.startswith("weight_"):
            assert getattr(method_config(name, {field.name: 0.0}), field.name) == 0.0


@pytest.mark.parametrize(
    ("name", "setting", "value", "interval"),
    [
        *((name, f.name, -1.0, r"\[0, inf\)") for name in METHODS for f in fields(method_class(name).Config)
          if f.name.startswith("weight_")),
        ("kd", "temperature", 0.0, r"\(0, inf\)"),
        ("feature_ot", "reg", 0.0, r"\(0, inf\)"),
        ("ucmkd", "reg", -0.1, r"\(0, inf\)"),
        ("ucmkd", "inner_steps", 0, r"\[1, inf\)"),
        ("ucmkd", "inner_learning_rate", 0.0, r"\(0, inf\)"),
        ("ucmkd", "label_smoothing", 1.0, r"\[0, 1\)"),
        ("supervised", "label_smoothing", 1.0, r"\[0, 1\)"),
        ("armada", "temperature", 0.0, r"\(0, inf\)"),
        ("armada", "width", 0, r"\[1, inf\)"),
        ("armada", "depth", 0, r"\[1, inf\)"),
        ("bagkd", "ramp", 1.5, r"\[0, 1\]"),
        ("bagkd", "assignment_temperature", 0.0, r"\(0, inf\)"),
        ("bagkd", "assignment_iterations", 0, r"\[1, inf\)"),
    ],
)  # fmt: skip
def test_values_out_of_range(name: str, setting: str, value: float, interval: str) -> None:
    with pytest.raises(
        ConfigError, match=f"Setting '{setting}' of method '{name}' must lie in {interval}; it is"
    ):
        method_config(name, {setting: value})


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("ucmkd", {"scheme": "bilevl"}, "'bilevel'"),
        ("ucmkd", {"variant": "offical"}, "'official'"),
        ("ucmkd", {"cost": "cosin"}, "'cosine'"),
        ("feature_ot", {"cost": "cosin"}, "'cosine'"),
        ("armada", {"manifold": "pair"}, "'pairs'"),
        ("armada", {"teacher": "feature"}, "'features'"),
    ],
)
def test_wrong_choices_get_the_nearest(name: str, values: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"must be one of .*; it is '\w+'; did you mean {words}\?"):
        method_config(name, values)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("kd", {"temperature": "1e-3"}, "'temperature' of method 'kd' must be a number; it is '1e-3'"),
        ("kd", {"temperature": True}, "must be a number; it is True"),
        ("ucmkd", {"inner_steps": 1.5}, "must be a whole number; it is 1.5"),
        ("ucmkd", {"gather": "yes"}, "must be true or false; it is 'yes'"),
        ("ucmkd", {"label_smoothing": "none"}, "must be a number or null; it is 'none'"),
    ],
)
def test_wrong_types(name: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        method_config(name, values)


def test_wrong_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="There is no method 'bagdk'; did you mean 'bagkd'"):
        method_class("bagdk")
    with pytest.raises(UnknownNameError, match="There is no method 'os'"):
        method_card("os")
    with pytest.raises(ConfigError, match="'kd' has no setting 'temprature'; did you mean 'temperature'"):
        method_config("kd", {"temprature": 1})


# ---- terms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "link"), WITH_LINKS)
def test_every_term_reaches_the_student_and_not_the_teacher(
    name: str, link: str, toy: ModuleType, bank: Bank
) -> None:
    made, batch = step(toy, bank, name, link)
    teacher = batch.get("teacher", {})
    tensors = [v for v in teacher.values() if isinstance(v, Tensor) and v.is_floating_point()]
    tensors += [v for v in teacher.get("head", ()) if v is not None]
    for value in tensors:
        value.requires_grad_()
    found, weights = terms(made, batch)
    assert set(found) == set(made.method.units)
    assert set(found) <= set(weights)
    for term, value in found.items():
        assert value.shape == ()
        gradients = torch.autograd.grad(
            value, [*made.student.parameters()], retain_graph=True, allow_unused=True
        )
        reached = sum(float(g.abs().sum()) for g in gradients if g is not None)
        assert reached == 0 if term in made.method.detached else reached > 0, term
        if tensors:
            leaked = torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True)
            assert all(g is None or not g.any() for g in leaked), term


@pytest.mark.parametrize(("name", "link"), WITH_LINKS)
@pytest.mark.parametrize(
    "draws",
    [
        pytest.param([Draw("labelled", 2, 0, 0)], id="one labelled row, nothing linked but by class"),
        pytest.param([Draw("unlabelled", 20, 0, 0)], id="one unlabelled row"),
        pytest.param([Draw("unlabelled", r, 0, r) for r in (20, 21, 22)], id="no labels"),
        pytest.param([Draw("labelled", 1, 0, 0), Draw("labelled", 1, 0, 1)], id="one row twice"),
    ],
)
def test_edges(name: str, link: str, draws: list[Draw], toy: ModuleType, bank: Bank) -> None:
    """One row, no labelled rows, no linked rows: finite terms, and a backward pass that goes through."""
    made, batch = step(toy, bank, name, link, draws)
    out = made(**batch, progress=0.9, report=True)
    out["loss"].backward()
    assert all(bool(torch.isfinite(value)) for value in out["terms"].values())
    gradients = [p.grad for p in made.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(g).all()) for g in gradients)


@pytest.mark.parametrize(("name", "link"), [case for case in WITH_LINKS if case[0] != "bagkd"])
def test_unit_terms_are_sums_over_rows(name: str, link: str, toy: ModuleType, bank: Bank) -> None:
    """A term with a unit is the sum of its parts; this is what makes accumulation exact."""
    draws = [Draw("labelled", row, 0, row) for row in range(6)]
    draws += [Draw("unlabelled", row, 0, row) for row in range(12, 18)]
    made, batch = step(toy, bank, name, link, draws)
    whole, _ = terms(made, batch)
    parts = [terms(made, step(toy, bank, name, link, draws[i::2])[1])[0] for i in range(2)]
    for term, unit in made.method.units.items():
        if unit != "batch":
            assert float(sum(p[term].detach() for p in parts)) == pytest.approx(
                float(whole[term].detach()), rel=1e-5
            ), term


@pytest.mark.parametrize("scheme", ["joint", "bilevel"])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_ucmkd_in_all_its_forms(scheme: str, variant: str, toy: ModuleType, bank: Bank) -> None:
    made, batch = step(toy, bank, "ucmkd", "by_class", scheme=scheme, variant=variant)
    out = made(**batch, progress=0.5)
    out["loss"].backward()
    assert {"supervised", "feature_alignment", "label_alignment"} == set(out["terms"])
    assert all(p.grad is not None for p in made.student.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_a_run_on_half_precision_features(name: str, toy: ModuleType, tmp_path: Path) -> None:
    """Banks hold float16 more often than not."""
    half = toy.bank(tmp_path / "bank", dtype="float16")
    run = toy.trainer(name, tmp_path, half, max_steps=3)
    run.train()
    assert all(bool(torch.isfinite(value).all()) for value in toy.weights(run).values())
