"""Teachers in half precision or compiled: what they note, and that a bank does not depend on how it was built."""

from __future__ import annotations

import pytest
import torch

from limbeck.banks import Bank
from limbeck.commands.bank import command
from limbeck.errors import ConfigError
from limbeck.signals.teacher import COMPARED_ROWS
from limbeck.teachers import HFTeacher
from limbeck.teachers.base import moved


@pytest.fixture
def tokens():
    g = torch.Generator().manual_seed(0)
    return torch.randint(3, 20, (2 * COMPARED_ROWS, 6), generator=g)


def _rows(tokens):
    return {"id": [str(i) for i in range(len(tokens))], "input_ids": tokens}


def test_what_half_precision_changes_is_noted(tiny, tokens):
    exact, half = HFTeacher(tiny["bert"]), HFTeacher(tiny["bert"], dtype="bfloat16")
    got, expected = half({"input_ids": tokens}).features, exact({"input_ids": tokens}).features
    off = (got - expected).norm(dim=1) / expected.norm(dim=1)
    noted = half.notes["difference to float32"]
    assert half.notes["computed in"] == "bfloat16"
    assert noted["rows"] == COMPARED_ROWS
    assert float(noted["largest"]) == pytest.approx(float(off[:COMPARED_ROWS].max()), rel=0.06)
    assert float(noted["mean"]) == pytest.approx(float(off[:COMPARED_ROWS].mean()), rel=0.06)
    assert float(noted["mean"]) > 1e-4
    assert "difference to float32" not in exact.notes


def test_rows_that_cannot_be_read_leave_the_comparison_to_the_next(tiny, tokens):
    half = HFTeacher(tiny["bert"], dtype="bfloat16")
    with pytest.raises(IndexError):
        half({"input_ids": tokens + 10**6})
    half({"input_ids": tokens})
    assert half.notes["computed in"] == "bfloat16"


def test_of_a_classifier_the_logits_are_compared(tiny, tokens):
    exact, half = (HFTeacher(tiny["roberta_classifier"], dtype=d) for d in ("float32", "bfloat16"))
    rows = {"input_ids": tokens[:4]}
    got, expected = half(rows).logits, exact(rows).logits
    off = (got - expected).norm(dim=1) / expected.norm(dim=1)
    assert float(half.notes["difference to float32"]["largest"]) == pytest.approx(float(off.max()), rel=0.06)


def test_the_note_does_not_hang_on_an_interruption(tiny, tokens, tmp_path):
    def build(name, rows):
        teacher = HFTeacher(tiny["bert"], dtype="bfloat16")
        return Bank.build(tmp_path / name, teacher, rows, key="id", batch_size=8, shard_size=32)

    class Stopped(Exception):
        pass

    def until(n):
        for i, row in enumerate(tokens):
            if i == n:
                raise Stopped
            yield {"id": str(i), "input_ids": row}

    whole = build("whole", _rows(tokens))
    with pytest.raises(Stopped):
        build("cut", until(40))
    cut = build("cut", _rows(tokens))
    for file in ("bank.json", "shard-00001.safetensors"):
        assert (cut.path / file).read_bytes() == (whole.path / file).read_bytes()


@pytest.mark.full
def test_a_compiled_model_answers_alike(tiny, tokens):
    plain, compiled = HFTeacher(tiny["bert"]), HFTeacher(tiny["bert"], compile="eager")
    got = compiled({"input_ids": tokens})
    torch.testing.assert_close(got.features, plain({"input_ids": tokens}).features)
    assert compiled.notes["computed in"] == "float32, compiled"
    assert float(compiled.notes["difference to float32"]["largest"]) < 1e-5
    assert compiled.fingerprint() == plain.fingerprint()


def test_what_cannot_be_read_of_a_compiled_model_is_refused(tiny, tokens, tmp_path):
    with pytest.raises(ConfigError, match="models of one tower"):
        HFTeacher(tiny["clip"], compile=True)
    with pytest.raises(ConfigError, match="name layers by number"):
        HFTeacher(tiny["bert"], layer="encoder.layer.0", compile=True)
    with pytest.raises(ConfigError, match="cannot be sent to workers"):
        Bank.build(
            tmp_path / "b", HFTeacher(tiny["bert"], compile=True), _rows(tokens), key="id", engine="ray"
        )


def test_the_command_says_what_it_changed(tiny, tmp_path, capsys):
    data = tmp_path / "texts.csv"
    data.write_text("id,text\n0,a red dog runs\n1,the small cat sleeps on grass\n")
    arguments = ["--data", str(data), "--output", str(tmp_path / "bank"), "--model-dtype", "bfloat16"]
    assert command(["build", "--teacher", f"hf:{tiny['bert']}", *arguments, "--device-map", "cpu"]) == 0
    assert "computed in bfloat16: on the first" in capsys.readouterr().out
    command(["info", str(tmp_path / "bank")])
    assert "difference to float32: largest" in capsys.readouterr().out


def test_nothing_is_pinned_without_a_gpu(monkeypatch):
    def refuse(*_):
        raise AssertionError

    monkeypatch.setattr(torch.Tensor, "pin_memory", refuse)
    x = torch.ones(3)
    assert moved(x, torch.device("cpu")) is x
    assert moved(x, torch.device("cpu"), torch.bfloat16).dtype == torch.bfloat16


def test_on_a_gpu_the_copy_is_pinned_and_not_waited_for(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: calls.append("pinned") or x)

    def to(x, *where, **how):
        calls.append((*where, how))
        return x

    monkeypatch.setattr(torch.Tensor, "to", to)
    gpu = torch.device("cuda")
    moved(torch.ones(3), gpu)
    assert calls[:2] == ["pinned", (gpu, {"non_blocking": True})]
