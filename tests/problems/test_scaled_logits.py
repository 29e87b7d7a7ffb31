"""Models that scale or cap their logits: told by their config and seen in their logits, on the path without logits."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_language
import torch
from levels import some_of
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.banks import Bank
from limbeck.banks.folder.opened import logit_form as stored_form
from limbeck.data.base import texts
from limbeck.errors import ConfigError, CorruptShardError
from limbeck.functional.response.divergence import divergence
from limbeck.functional.response.vocabulary_head import LogitForm
from limbeck.problems.base import Comparison, Targets
from limbeck.problems.registry import problem
from limbeck.students import Student
from limbeck.students.language.logit_form import logit_form
from limbeck.teachers import AnswerTeacher

PROMPTS, ANSWERS = ("abc>", "d>", "hello:"), ("cba", "d", "you")
ROWS = torch.arange(3)
FORMS = {
    "gemma2": ({"final_logit_softcapping": 3.0, "head_dim": 8}, LogitForm(1.0, 3.0)),
    "cohere": ({"logit_scale": 0.25}, LogitForm(0.25)),
    "granite": ({"logits_scaling": 4.0}, LogitForm(0.25)),
}


def model(kind: str, seed: int = 0, **settings: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(seed)
    sizes = {
        "vocab_size": len(tiny_language.tokenizer()), "hidden_size": 16, "num_attention_heads": 2,
        "num_key_value_heads": 2, "num_hidden_layers": 1, "intermediate_size": 32, "initializer_range": 0.3,
        "pad_token_id": 0, "eos_token_id": 0, "bos_token_id": None,
    }  # fmt: skip
    config = AutoConfig.for_model(kind, **sizes, **{**FORMS[kind][0], **settings})
    return AutoModelForCausalLM.from_config(config).eval()


def rows() -> tuple[Any, Any]:
    """The problem, and its rows encoded."""
    asked = problem({"kind": "generation", "max_new_tokens": 8}, ("completion",))
    asked = asked.for_tokenizer(tiny_language.tokenizer())
    columns = {"prompt": texts(PROMPTS), "completion": texts(ANSWERS)}
    return asked, asked.encoded(columns, Targets(torch.zeros(3, 1), torch.ones(3).bool()), 24, range(3))


def student(net: Any, inputs: dict[str, Tensor]) -> Student:
    made = Student(net, reading="positions")
    made.probe(inputs)
    return made


def asked_of(teacher: AnswerTeacher) -> Any:
    return teacher({"prompt": list(PROMPTS), "completion": list(ANSWERS)})


def same_gradients(found: Tensor, wanted: Tensor, net: nn.Module, tolerance: float) -> None:
    weights = list(net.parameters())
    for a, b in zip(torch.autograd.grad(found, weights), torch.autograd.grad(wanted, weights), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", FORMS)
def test_the_loss_is_that_of_the_models_own_logits(kind: str, dtype: torch.dtype) -> None:
    (asked, given), net = rows(), model(kind).to(dtype)
    ours = student(net, given.inputs)
    out = ours(given.inputs)
    assert out.entered_plainly is not None  # nothing was made of the vocabulary's size
    assert out.form == FORMS[kind][1]
    exact = 1e-5 if dtype == torch.float32 else 1e-12
    found = asked.loss(out, given.targets)
    logits, wanted = net(**given.inputs).logits, asked.next_tokens(given.targets)
    by_hand = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum")
    assert found.item() == pytest.approx(by_hand.item(), rel=exact)
    same_gradients(found, by_hand, net, exact)
    _, scored = asked.evaluated(ours, given.inputs, given.targets)
    assert float(scored["nll"].sum()) == pytest.approx(by_hand.item(), rel=exact)
    torch.testing.assert_close(ours(given.inputs).logits, logits, rtol=exact, atol=exact)


@pytest.mark.parametrize("of_teacher", some_of(FORMS, "gemma2"))
@pytest.mark.parametrize(
    "kind", some_of(["forward_kl", "reverse_kl", "tv"], "forward_kl", "tv")
)  # tv: all logits
def test_distillation_is_that_of_both_models_own_logits(kind: str, of_teacher: str, tmp_path: Path) -> None:
    (asked, given), theirs = rows(), model(of_teacher, 1)
    net = model("gemma2" if of_teacher != "gemma2" else "granite")
    teacher = AnswerTeacher(theirs, tiny_language.tokenizer())
    keys = ["a", "b", "c"]
    columns = {"prompt": list(PROMPTS), "completion": list(ANSWERS), "key": keys}
    bank = Bank.build(tmp_path / "bank", teacher, columns, key="key")
    with torch.no_grad():
        z_p = theirs(**given.inputs).logits
    where, how = asked.next_tokens(given.targets) != -100, Comparison(kind, temperature=2.0)
    ours = student(net, given.inputs)
    for said in (asked_of(teacher), bank.lookup(keys, signals=["hidden_states"])):
        assert said.form == FORMS[of_teacher][1]
        z_q = net(**given.inputs).logits
        wanted = divergence(z_q[where], z_p[where], kind=kind, temperature=2.0, reduction="sum")  # type: ignore[arg-type]
        found = asked.divergence(ours(given.inputs), said, given.targets, ROWS, how)
        assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
        same_gradients(found, wanted, net, 1e-5)
    assert said.rows(ROWS).form == said.map_tensors(lambda x: x).form == said.form


@pytest.mark.parametrize("told", [[0.0, 1.0], [1.0, -1.0], [float("nan"), 0.0], [1.0]])
def test_a_damaged_form_of_a_bank(told: list[float]) -> None:
    with pytest.raises(CorruptShardError, match="its form is no scale and cap"):
        stored_form(Path("head.safetensors"), {"form": torch.tensor(told)})
    assert stored_form(Path("head.safetensors"), {"form": torch.tensor([2.0, 0.0])}) == LogitForm(2.0)


def test_what_a_config_names_is_believed_where_it_is_seen() -> None:
    products = torch.randn(2, 5, 7)

    def made(logits: Tensor, **config: float) -> LogitForm | None:
        net = nn.Identity()
        net.config = SimpleNamespace(**config)  # type: ignore[assignment]
        return logit_form(net, products, logits)

    assert made(products.clone()) == LogitForm()
    assert made(products / 8, logits_scaling=8.0) == LogitForm(1 / 8)
    assert made(products * 8, logits_scaling=8.0) == LogitForm(8.0)  # one library's name for both
    capped = 2 * torch.tanh(0.5 * products / 2)
    assert made(capped, final_logit_softcapping=2.0, logit_scale=0.5) == LogitForm(0.5, 2.0)
    assert made(products.clone(), final_logit_softcapping=2.0) == LogitForm()
    assert made(products * 3) is None
    assert made(capped, final_logit_softcapping=2.0) is None
    assert made(products[..., :3], logit_scale=2.0) is None
    assert made(products, logit_scale=2.0) == LogitForm()
    assert made(products.mul_(2), logit_scale=2.0) is None  # in place: what was there before is gone
    half = products.bfloat16()
    found = logit_form(nn.Identity(), half, half.clone())
    assert found == LogitForm()


@pytest.mark.parametrize("scaling", [1.05, 8.0])
@pytest.mark.parametrize("cap", [None, 30.0])
def test_in_half_precision_a_scale_near_one_is_not_its_inverse(scaling: float, cap: float | None) -> None:
    net, products = (
        nn.Identity(),
        (0.1 * torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))).bfloat16(),
    )
    net.config = SimpleNamespace(logits_scaling=scaling, final_logit_softcapping=cap)  # type: ignore[assignment]
    scaled = products / scaling
    logits = scaled if cap is None else torch.tanh(scaled / cap) * cap
    assert logit_form(net, products, logits) == LogitForm(1 / scaling, cap)


def test_what_no_config_names_is_asked_for_its_likeliest_tokens() -> None:
    net = model("granite")
    net.forward = _tripled(net.forward)
    asked, given = rows()
    ours = student(net, given.inputs)
    assert ours(given.inputs).entered_plainly is None
    logits, wanted = net(**given.inputs).logits, asked.next_tokens(given.targets)
    by_hand = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum")
    assert asked.loss(ours(given.inputs), given.targets).item() == pytest.approx(by_hand.item(), rel=1e-5)
    with pytest.raises(
        ConfigError, match="a cap that its config names, so that these do not keep them; set top_k"
    ):
        asked_of(AnswerTeacher(net, tiny_language.tokenizer()))


def _tripled(forward: Any) -> Any:
    def inner(input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor) -> Any:
        out = forward(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)
        out.logits = 3 * out.logits + 1
        return out

    return inner
