"""Values and gradients against public reference implementations, stored as golden vectors.

The folder is read from ``LIMBECK_VECTORS`` (default: the copy beside this file), so that other cases of the same
format can be run; ``vectors/README.md`` describes it.
"""

from __future__ import annotations

import importlib.util
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

HERE = Path(__file__).parent
VECTORS = Path(os.environ.get("LIMBECK_VECTORS") or HERE / "vectors")


def _adapters() -> Any:
    spec = importlib.util.spec_from_file_location("golden_adapters", HERE / "adapters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


table = _adapters()
METAS = {p.parent.name: json.loads(p.read_text()) for p in sorted(VECTORS.glob("*/meta.json"))}
CASES = [
    pytest.param(folder, case, id=f"{folder}-{case['name']}")
    for folder, meta in METAS.items()
    if folder in table.ADAPTERS
    for case in meta["cases"]
]
Case = dict[str, Any]


@cache
def tensors(folder: str) -> dict[str, Tensor]:
    return load_file(VECTORS / folder / "cases.safetensors")


def stored(folder: str, case: Case) -> tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]:
    """Inputs, value and gradients of a case, in float64."""
    start = case["id"] + "."
    own = {k.removeprefix(start): v for k, v in tensors(folder).items() if k.startswith(start)}
    value, prefix = table.EXPECTED.get(folder, ("out", "grad."))
    if not case["finite"]:  # the reference overflows there; a log-space formula does not
        value, prefix = "stable_out", "stable_grad."
    gradients = {name: own[prefix + name] for name in case["grad"]}
    return {name: own[name] for name in case["inputs"]}, own[value], gradients


def ours(
    folder: str, case: Case, inputs: dict[str, Tensor], dtype: torch.dtype
) -> tuple[Tensor, dict[str, Tensor]]:
    leaves = {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
    wanted = {name: leaves[name].clone().requires_grad_() for name in case["grad"]}
    value = table.ADAPTERS[folder](case["params"], leaves | wanted)
    found = torch.autograd.grad(value, list(wanted.values()), allow_unused=True)
    gradients = {name: torch.zeros_like(x) if g is None else g for (name, x), g in zip(wanted.items(), found)}
    return value.detach().reshape(1), gradients


def comparable(name: str, gradient: Tensor) -> Tensor:
    """A covariance moves only symmetrically: of its gradient the symmetric part counts."""
    return (gradient + gradient.mT) / 2 if name.startswith("cov_") else gradient


def skip_if_exempt(folder: str, case: Case) -> None:
    if (folder, case["name"]) in table.EXEMPT:
        pytest.skip(table.EXEMPT[folder, case["name"]])


def test_there_are_vectors():
    assert METAS, f"no golden vectors in {VECTORS}"


def test_exemptions_give_a_reason():
    assert all(reason.strip() for reason in table.EXEMPT.values())


@pytest.mark.parametrize("folder", METAS)
def test_folder_has_adapter(folder: str):
    assert folder in table.ADAPTERS, f"write an adapter for {folder} in {HERE.name}/adapters.py"


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_float64(folder: str, case: Case):
    skip_if_exempt(folder, case)
    inputs, value, gradients = stored(folder, case)
    got, got_gradients = ours(folder, case, inputs, torch.float64)
    t = case["tolerance"]["float64"] | table.TOLERANCE.get(folder, {})
    torch.testing.assert_close(got, value, rtol=t["rtol"], atol=t["atol"])
    for name, expected in gradients.items():
        torch.testing.assert_close(
            comparable(name, got_gradients[name]),
            comparable(name, expected),
            rtol=t["grad_rtol"],
            atol=t["grad_atol"],
            msg=lambda text, name=name: f"gradient to {name}: {text}",
        )


@pytest.mark.parametrize(("folder", "case"), CASES)
def test_float32(folder: str, case: Case):
    """Within 1e-4, near 0 within ten times the reference's own float32 error; gradients of fixed points by cosine."""
    skip_if_exempt(folder, case)
    inputs, value, gradients = stored(folder, case)
    got, got_gradients = ours(folder, case, inputs, torch.float32)
    assert got.dtype == torch.float32
    t = case["tolerance"].get("float32", case["tolerance"]["float64"])  # some references ran in float64 only
    torch.testing.assert_close(got.double(), value, rtol=1e-4, atol=t["atol"])
    for name, expected in gradients.items():
        expected = comparable(name, expected).flatten()
        gradient = comparable(name, got_gradients[name].double()).flatten()
        if folder in table.ITERATED:
            cosine = torch.cosine_similarity(gradient, expected, dim=0)
            assert cosine > 0.999, f"gradient to {name}: cosine {float(cosine):.5f}"
            continue
        torch.testing.assert_close(
            gradient,
            expected,
            rtol=max(t["grad_rtol"], 1e-4),
            atol=t["grad_atol"],
            msg=lambda text, name=name: f"gradient to {name}: {text}",
        )


@pytest.mark.parametrize(("folder", "case"), [c for c in CASES if c.values[0] in table.OTHERS])
def test_other_outputs(folder: str, case: Case):
    """What a folder stores beside its value: parts, masks, margins, memories."""
    inputs, _, _ = stored(folder, case)
    t, whole = case["tolerance"]["float64"], tensors(folder)
    for name, found in table.OTHERS[folder](case["params"], inputs).items():
        wanted = whole[f"{case['id']}.{name}"]
        torch.testing.assert_close(
            found.to(wanted.dtype).reshape(wanted.shape),
            wanted,
            rtol=t["rtol"],
            atol=t["atol"],
            msg=lambda text, name=name: f"{name}: {text}",
        )
