"""Vision-language models as teachers of answers, against their own logits row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch
from teachers import tiny_vlm

from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.problems.registry import problem
from limbeck.signals.top_k import TopK
from limbeck.teachers import SeeingAnswerTeacher

PROMPTS, ANSWERS = ("abc>", "d>", "hello:", "a"), ("cba", "d", "you", "")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm.llava(tmp_path_factory.mktemp("vlm"))


def asked() -> dict[str, Any]:
    return {"prompt": list(PROMPTS), "completion": list(ANSWERS), "image": tiny_vlm.pictures(4)}


def by_hand(home: Path, rows: dict[str, Any], template: str = "<image>{}", end: str = "</s>") -> torch.Tensor:
    """Logits at each token of the answers, a row at a time, without padding, of the student's tokens."""
    from transformers import AutoModelForImageTextToText, AutoProcessor

    net, processor = (
        AutoModelForImageTextToText.from_pretrained(home).eval(),
        AutoProcessor.from_pretrained(home),
    )
    n, found = len(tiny_language.tokenizer()), []
    for prompt, answer, picture in zip(rows["prompt"], rows["completion"], rows["image"], strict=True):
        if answer:
            text = template.format(prompt) + answer + end
            given = processor(text=text, images=picture, return_tensors="pt", add_special_tokens=False)
            length = len(answer) + 1
            found.append(net(**given).logits[0, -length - 1 : -1, :n])
    return torch.cat(found)


def logits_of(said: Any) -> torch.Tensor:
    return torch.nn.functional.linear(said.hidden_states["answer"].values, *said.head)


@pytest.mark.parametrize("make", [tiny_vlm.llava, pytest.param(tiny_vlm.idefics, marks=pytest.mark.full)])
def test_as_by_hand(make: Any, tmp_path: Path) -> None:
    home, rows = make(tmp_path), asked()
    teacher, wanted = SeeingAnswerTeacher.load(home), by_hand(home, rows)
    said = teacher(rows)
    assert said.hidden_states["answer"].lengths.tolist() == [4, 2, 4, 0]
    torch.testing.assert_close(logits_of(said), wanted, rtol=1e-5, atol=1e-5)
    others = logits_of(teacher(rows | {"image": rows["image"][::-1]}))
    assert (others - wanted).abs().max() > 1e-2


def test_in_its_chat_template(home: Path) -> None:
    teacher = SeeingAnswerTeacher.load(home, chat=True, system="be brief")
    wanted = by_hand(home, asked(), "<s>s:be brief<turn>u:<image>{}<turn>a:", "<turn>")
    torch.testing.assert_close(logits_of(teacher(asked())), wanted, rtol=1e-5, atol=1e-5)
    assert teacher.notes["end"] == "<turn>"


def test_its_fingerprint_knows_what_it_is_shown(home: Path) -> None:
    parts = [SeeingAnswerTeacher.load(home).fingerprint() for _ in range(2)]
    assert parts[0] == parts[1]
    teacher = SeeingAnswerTeacher.load(home)
    teacher.wording.processor.image_processor.image_mean = [0.0, 0.0, 0.0]
    found = teacher.fingerprint()
    assert {name for name in found if found[name] != parts[0][name]} == {"preprocessing"}


def test_the_likeliest_tokens(home: Path) -> None:
    said = SeeingAnswerTeacher.load(home, top_k=3)(asked())
    wanted = TopK.of(by_hand(home, asked()), 3)
    assert said.tokens.values.ids.tolist() == wanted.ids.tolist()
    torch.testing.assert_close(said.tokens.values.log_probs, wanted.log_probs, rtol=1e-4, atol=1e-5)


def test_its_vocabulary_is_the_students_or_refused(home: Path, tmp_path: Path) -> None:
    posed = problem({"kind": "generation"}, ("completion",)).for_tokenizer(tiny_language.tokenizer())
    assert posed.check_teacher("teacher", SeeingAnswerTeacher.load(home).notes) == ()
    other = tiny_vlm.llava(tmp_path, "zebra")
    with pytest.raises(ConfigError, match=r"another vocabulary .* \(uld\), or let the teacher write"):
        posed.check_teacher("teacher", SeeingAnswerTeacher.load(other).notes)
    cut = SeeingAnswerTeacher.load(other, vocabulary=len(tiny_language.tokenizer()))
    assert posed.check_teacher("teacher", cut.notes) == ()


def test_bad_input(home: Path) -> None:
    from limbeck.students.language.fresh import fresh_causal_lm

    with pytest.raises(UnknownNameError, match="A teacher that sees reads 'image'; did you mean 'imag'"):
        SeeingAnswerTeacher.load(home)({"prompt": ["a"], "completion": ["b"], "imag": [0]})
    with pytest.raises(
        ConfigError, match=r"is 14 tokens, .* max_length of 10; .* a picture's tokens are not cut"
    ):
        SeeingAnswerTeacher.load(home, max_length=10)(asked())
    with pytest.raises(UnknownNameError, match="no setting 'vocab'; did you mean 'vocabulary'"):
        SeeingAnswerTeacher.load(home, vocab=3)
    blind = tiny_language.folder(home / "blind")
    fresh_causal_lm(str(blind), {"hidden_size": 16}, torch.float32).save_pretrained(blind)
    with pytest.raises(DataError, match="of the kind 'llama', which is shown no pictures"):
        SeeingAnswerTeacher.load(blind)


def test_code_of_a_folder_is_not_run(tmp_path: Path) -> None:
    folder, ran = tiny_vlm.llava(tmp_path / "vlm"), tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass Mine: pass\n")
    path = folder / "processor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps(settings | {"auto_map": {"AutoProcessor": "mine.Mine"}}))
    SeeingAnswerTeacher.load(folder)(asked())
    assert not ran.exists()
    path.write_text(json.dumps(settings | {"processor_class": "AutoModel"}))
    with pytest.raises(DataError, match="gives 'AutoModel' as its processor_class, which is none"):
        SeeingAnswerTeacher.load(folder)
