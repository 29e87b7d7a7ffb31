"""What holds for every method of the registry."""

from __future__ import annotations

import importlib
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from levels import some_of
from torch import Tensor
from toy import ASK_LIVE

from limbeck.banks.bank import Bank
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.methods.cards import method_card
from limbeck.methods.declared import Layers
from limbeck.methods.features.fitnets import FitNets
from limbeck.methods.registry import (
    METHODS,
    PRESETS,
    home_of,
    method_class,
    method_config,
    plan_method,
    preset_named,
)
from limbeck.problems.base import Targets
from limbeck.problems.registry import PROBLEMS
from limbeck.signals.links import LINKS, Draw
from limbeck.signals.output import ACCESS_OF_SIGNAL
from limbeck.training.streams import streams

NAMES = sorted({*METHODS, *PRESETS})
PLANS = {name: plan_method(name) for name in NAMES}
# Not those whose layers, problem or answers the toy student and its bank do not have; they have tests of their own.
ON_TOY = [
    name
    for name in NAMES
    if PLANS[name].declared.layers == Layers()
    and name not in ASK_LIVE
    and "classification" in (PLANS[name].declared.problems or {"classification"})
]
WITH_LINKS = [(name, link) for name in ON_TOY for link in sorted(PLANS[name].declared.links or {"unpaired"})]
# A preset is values of a formula, and links differ in the draw alone: of these `make test` takes a method's first.
FIRST_LINKS = [
    case
    for case in WITH_LINKS
    if case[0] in METHODS and case == min(c for c in WITH_LINKS if c[0] == case[0])
]


def fixed_in(name: str) -> set[str]:
    """Settings that a preset fixes."""
    preset = preset_named(name)
    return set() if preset is None else set(preset.fixed)


def step(
    toy: ModuleType, bank: Bank, name: str, link: str, draws: list[Draw] | None = None, **config: Any
) -> tuple[Any, dict[str, Any]]:
    """A distiller in training mode and a collated batch for it: 5 labelled rows and 3 units, or the given draws."""
    declared = PLANS[name].declared
    teacher = bank if declared.has_teacher else None
    made = toy.distiller(name, teacher, config=config).train()
    collate = toy.collator(link, teacher, needs_ema="ema" in declared.peers)
    if draws is None:
        labelled, units = streams(collate, has_teacher=declared.has_teacher, unlabelled=declared.unlabelled)
        second = (
            units[:3].tolist() if isinstance(units, Tensor) else [row for bag in units[:3] for row in bag]
        )
        rows = [("labelled", row) for row in labelled[:5].tolist()] + [("unlabelled", row) for row in second]
        draws = [Draw(stream, row, 0, slot) for slot, (stream, row) in enumerate(rows)]
    batch = collate(draws)
    return made, {k: v for k, v in batch.items() if k not in ("keys", "counts")}


def terms(
    made: Any, batch: dict[str, Any], progress: float = 0.9
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Every term with its graph."""
    b = made._step_batch(batch["inputs"], Targets(**batch["targets"]), batch, progress, 0)
    b.student = made.student(batch["inputs"])
    return made.method.losses(b), made.method.weights(progress)


# ---- what is written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_card_is_complete(name: str) -> None:
    card, cls = method_card(name), method_class(name)
    assert card.summary.endswith(".")
    assert ".. math::" in (cls.__doc__ or "")
    assert "\\" not in card.description
    assert any(line.startswith("    ") for line in card.description.splitlines()), (
        "no equation in plain letters"
    )
    assert len(card.paper) > 4
    assert (set(card.needs), set(card.links), set(card.problems), dict(card.units)) == (
        set(cls.needs),
        set(cls.links),
        set(cls.problems),
        dict(cls.units),
    )
    shown = {setting.name: setting for setting in card.settings}
    fixed = card.fixed or {}
    assert set(shown) | set(fixed) == {field.name for field in fields(cls.Config)}
    assert all(setting.text for setting in shown.values())
    source = Path(importlib.import_module(home_of(name).partition(":")[0]).__file__ or "")
    assert len(source.read_text().splitlines()) < 200


@pytest.mark.parametrize("name", NAMES)
def test_declarations_are_valid(name: str) -> None:
    cls, declared = method_class(name), PLANS[name].declared
    assert set(cls.needs) <= set(ACCESS_OF_SIGNAL)
    assert set(cls.links) <= set(LINKS)
    assert set(cls.problems) <= set(PROBLEMS)
    assert bool(cls.needs) == bool(cls.links)
    assert declared.links == set(cls.links)


def test_cards_are_read_without_torch() -> None:
    code = (
        "import sys, limbeck.methods.cards as c\n"
        "cards = c.all_cards()\n"
        "assert len(cards) >= 7 and any(card.family for card in cards)\n"
        "assert not {'torch', 'transformers', 'numpy', 'scipy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_presets_fix_what_they_are() -> None:
    assert method_config("kd").divergence == "forward_kl"
    assert method_config("kd", {"divergence": "forward_kl"}) == method_config("kd")
    with pytest.raises(
        ConfigError, match="'kd' is 'divergence' with divergence='forward_kl'; take 'divergence'"
    ):
        method_config("kd", {"divergence": "jsd"})


@pytest.mark.parametrize(
    ("literals", "words"),
    [
        ({"units": {"hint": "pairs"}}, "the unit 'pairs' of term 'hint' is none of labelled, pair"),
        ({"units": {"hints": "pair"}}, "the term 'hints' has no field weight_hints in FitNetsConfig"),
        ({"needs": {"feature"}}, "the signal 'feature' in needs is none of features"),
        ({"detached": {"other"}}, "the detached term 'other' has no unit"),
        ({"links": set()}, "it needs signals of a teacher and claims no link"),
    ],
)
def test_literals_are_checked_when_the_class_is_made(literals: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=f"The method Wrong contradicts itself: {words}"):
        type("Wrong", (FitNets,), literals)


# ---- config -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trips(name: str) -> None:
    config = method_config(name)
    assert method_config(name, asdict(config)) == config
    for field in fields(config):  # every weight must be settable by its name, to 0 too
        if field.name.startswith("weight_"):
            assert getattr(method_config(name, {field.name: 0.0}), field.name) == 0.0


@pytest.mark.parametrize(
    ("name", "setting", "value", "interval"),
    [
        *((name, f.name, -1.0, r"\[0, inf\)") for name in NAMES for f in fields(method_class(name).Config)
          if f.name.startswith("weight_") and f.name not in fixed_in(name)),
        ("kd", "temperature", 0.0, r"\(0, inf\)"),
        ("feature_ot", "reg", 0.0, r"\(0, inf\)"),
        ("ucmkd", "reg", -0.1, r"\(0, inf\)"),
        ("ucmkd", "inner_steps", 0, r"\[1, inf\)"),
        ("ucmkd", "inner_learning_rate", 0.0, r"\(0, inf\)"),
        ("ucmkd", "label_smoothing", 1.0, r"\[0, 1\)"),
        ("supervised", "label_smoothing", 1.0, r"\[0, 1\)"),
        ("armada", "temperature", 0.0, r"\(0, inf\)"),
        ("dkd", "beta", -1.0, r"\[0, inf\)"),
        ("dist", "temperature", 0.0, r"\(0, inf\)"),
        ("binary_kd", "temperature", 0.0, r"\(0, inf\)"),
        ("divergence", "teacher_share", 1.5, r"\[0, 1\]"),
        ("info_nce", "temperature", 0.0, r"\(0, inf\)"),
        ("kd_svd", "vectors", 0, r"\[1, inf\)"),
        ("n_to_one", "groups", 0, r"\[1, inf\)"),
        ("vid", "initial_variance", 0.0, r"\(0, inf\)"),
        ("luminet", "temperature", 0.0, r"\(0, inf\)"),
        ("dhkd", "temperature", 0.0, r"\(0, inf\)"),
        ("sinkd", "sweeps", 0, r"\[1, inf\)"),
        ("mixed", "candidates", 0, r"\[1, inf\)"),
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
        ("relations", {"relation": "spp"}, "'sp'"),
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


@pytest.mark.parametrize(("name", "link"), some_of(WITH_LINKS, *FIRST_LINKS))
def test_every_term_reaches_the_student_and_not_the_teacher(
    name: str, link: str, toy: ModuleType, bank: Bank
) -> None:
    made, batch = step(toy, bank, name, link)
    said = batch["teachers"]["teacher"]["said"] if batch["teachers"] else {}
    tensors = [v for v in said.values() if isinstance(v, Tensor) and v.is_floating_point()]
    tensors += [v for v in said.get("head", ()) if v is not None]
    for value in tensors:
        value.requires_grad_()
    found, weights = terms(made, batch)
    inner = {descent.name for descent in made.method.plan.descents}  # not summed, but descended
    assert set(found) | inner == set(made.method.plan.units)
    assert set(found) <= set(weights)
    for term, value in found.items():
        assert value.shape == ()
        gradients = torch.autograd.grad(
            value, [*made.student.parameters()], retain_graph=True, allow_unused=True
        )
        reached = sum(float(g.abs().sum()) for g in gradients if g is not None)
        assert reached == 0 if term in made.method.plan.detached else reached > 0, term
        if tensors:
            leaked = torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True)
            assert all(g is None or not g.any() for g in leaked), term


@pytest.mark.parametrize(("name", "link"), some_of(WITH_LINKS, *FIRST_LINKS))
@pytest.mark.parametrize(
    "draws",
    [
        pytest.param(
            [Draw("labelled", 2, 0, 0)],
            id="one labelled row, nothing linked but by class",
            marks=pytest.mark.full,
        ),
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


@pytest.mark.parametrize(
    ("what", "link", "method"), [("pair_index", "paired", "kd"), ("group_s", "bagged", "bagkd")]
)
@pytest.mark.parametrize("change", [lambda x: x[:-1], lambda x: torch.cat([x, x[:1]])])
def test_an_index_of_another_length(
    what: str, link: str, method: str, change: Any, toy: ModuleType, bank: Bank
) -> None:
    made, batch = step(toy, bank, method, link)
    batch["teachers"]["teacher"][what] = change(batch["teachers"]["teacher"][what])
    n = len(batch["targets"]["known"])
    with pytest.raises(DataError, match=f"{what} of 'teacher' has the shape .* beside {n} student rows"):
        made(**batch)


@pytest.mark.parametrize(
    ("name", "link"), [case for case in some_of(WITH_LINKS, *FIRST_LINKS) if case.values[0] != "bagkd"]
)
def test_unit_terms_are_sums_over_rows(name: str, link: str, toy: ModuleType, bank: Bank) -> None:
    """A term with a unit is the sum of its parts; this is what makes accumulation exact."""
    draws = [Draw("labelled", row, 0, row) for row in range(6)]
    draws += [Draw("unlabelled", row, 0, row) for row in range(12, 18)]
    made, batch = step(toy, bank, name, link, draws)
    whole, _ = terms(made, batch)
    parts = [terms(made, step(toy, bank, name, link, draws[i::2])[1])[0] for i in range(2)]
    for term, unit in made.method.plan.units.items():
        if unit != "batch" and term in whole:
            assert float(sum(p[term].detach() for p in parts)) == pytest.approx(
                float(whole[term].detach()), rel=1e-5
            ), term


@pytest.mark.parametrize("scheme", ["joint", "bilevel"])
@pytest.mark.parametrize("variant", ["ours", "paper", "official"])
def test_ucmkd_in_all_its_forms(scheme: str, variant: str, toy: ModuleType, bank: Bank) -> None:
    made, batch = step(toy, bank, "ucmkd", "by_class", scheme=scheme, variant=variant)
    out = made(**batch, progress=0.5)
    out["loss"].backward()
    assert {"supervised", "feature", "label"} == set(out["terms"])
    assert all(p.grad is not None for p in made.student.parameters())


@pytest.mark.parametrize("name", some_of(ON_TOY, "kd", "armada", "ucmkd", "bagkd", "info_nce"))
def test_a_run_on_half_precision_features(name: str, toy: ModuleType, tmp_path: Path) -> None:
    """Banks hold float16 more often than not."""
    half = toy.bank(tmp_path / "bank", dtype="float16")
    run = toy.trainer(name, tmp_path, half, max_steps=3)
    run.train()
    assert all(bool(torch.isfinite(value).all()) for value in toy.weights(run).values())
