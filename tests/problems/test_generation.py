"""The problem of writing answers is exact to the token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_language
import torch
from torch.nn import functional as F

from limbeck.data.base import texts
from limbeck.errors import ConfigError, DataError, UnknownNameError
from limbeck.problems import Targets
from limbeck.problems.base import Bare
from limbeck.problems.prompts import Wording, position_ids
from limbeck.problems.registry import problem
from limbeck.students import Student
from limbeck.students.language.fresh import fresh_causal_lm

KINDS = ("llama", "gpt2")
PROMPTS, ANSWERS = ("abc>", "d>", "hello:"), ("cba", "d", "you")
KNOWN = torch.tensor([True, True, True])


def posed(**settings: Any) -> Any:
    return problem({"kind": "generation", "max_new_tokens": 8, **settings}, ("completion",)).for_tokenizer(
        tiny_language.tokenizer()
    )


def encoded(asked: Any, known: torch.Tensor = KNOWN, **columns: Any) -> Any:
    inputs = {"prompt": texts(PROMPTS), "completion": texts(ANSWERS), **columns}
    return asked.encoded(inputs, Targets(torch.zeros(3, 1), known), 24, ("x", "y", "z"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_language.folder(tmp_path_factory.mktemp("language"))


@pytest.fixture(params=KINDS)
def student(request: pytest.FixtureRequest, home: Path) -> Student:
    return made(home, request.param)


def made(home: Path, kind: str = "llama", **settings: Any) -> Student:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2, **settings}
    model = fresh_causal_lm(str(home), {"kind": kind, **sizes}, torch.float32)
    made = Student(model.eval(), reading="positions")
    made.probe({"input_ids": torch.ones(1, 2, dtype=torch.long)})
    return made


def padded_left(rows: Any, n: int) -> tuple[dict[str, torch.Tensor], Targets]:
    ids, mask = (F.pad(rows.inputs[name], (n, 0)) for name in ("input_ids", "attention_mask"))
    targets = Targets(F.pad(rows.targets.values, (n, 0), value=-100), rows.targets.known)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": position_ids(mask)}, targets


def test_left_pads_do_not_matter(student: Student) -> None:
    asked, losses = posed(), []
    rows = encoded(asked)
    for n in (0, 20):
        inputs, targets = padded_left(rows, n)
        losses.append(float(asked.loss(student(inputs), targets).detach() / asked.count(targets)))
    assert abs(losses[0] - losses[1]) < 1e-6


def test_a_row_is_scored_as_it_is_alone(student: Student) -> None:
    asked = posed()
    rows = encoded(asked)
    _, together = asked.evaluated(student, rows.inputs, rows.targets)
    assert together["tokens"].tolist() == [4, 2, 4]  # the end counts
    for i, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS)):
        ids = tiny_language.tokenizer()(prompt + answer + "</s>", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            said = student.model(input_ids=ids).logits[0].log_softmax(-1)
        at = range(len(prompt) - 1, len(prompt) + len(answer))
        alone = -sum(said[place, ids[0, place + 1]] for place in at)
        assert float(together["nll"][i]) == pytest.approx(float(alone), abs=1e-5)


def test_the_loss_is_shifted_and_leaves_prompts_alone() -> None:
    logits = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[-100, 5, 2]])
    asked, targets = posed(), Targets(labels, torch.tensor([True]))
    loss = asked.loss(Bare(logits), targets)
    assert loss.item() == pytest.approx(
        float(F.cross_entropy(logits.detach()[0, :2], labels[0, 1:], reduction="sum"))
    )
    assert loss.item() != pytest.approx(
        float(F.cross_entropy(logits.detach()[0, 1:], labels[0, 1:], reduction="sum"))
    )
    loss.backward()
    assert logits.grad[0, 2].abs().max() == 0
    assert logits.grad[0, :2].abs().amin() > 0


def test_no_gradient_at_prompts(student: Student) -> None:
    asked = posed()
    rows = encoded(asked)
    out = student(rows.inputs)
    out.entered.retain_grad()
    asked.loss(out, rows.targets).backward()
    said = out.entered.grad.abs().amax(-1) > 0
    ends = [len(p) + len(a) for p, a in zip(PROMPTS, ANSWERS)]  # where the end is predicted: its last letter
    for i, prompt in enumerate(PROMPTS):
        assert said[i].nonzero().flatten().tolist() == list(range(len(prompt) - 1, ends[i]))


def test_the_end_is_learned_where_it_also_pads() -> None:
    rows = encoded(posed())
    assert tiny_language.tokenizer().pad_token_id == tiny_language.tokenizer().eos_token_id == 0
    assert [int(row[row != -100][-1]) for row in rows.targets.values] == [0, 0, 0]
    assert rows.inputs["attention_mask"].sum(1).tolist() == [8, 4, 10]


@pytest.mark.parametrize("kind", KINDS)  # of GPT-2 the embeddings are the head
@pytest.mark.parametrize("width", [64, 128])
def test_padded_vocabularies_are_cut(home: Path, width: int, kind: str) -> None:
    asked, whole, cut = posed(also=["exact_match"]), made(home, kind, vocab_size=width), made(home, kind)
    n = len(tiny_language.tokenizer())
    state = {
        name: value[:n] if name.endswith(("embed_tokens.weight", "wte.weight", "lm_head.weight")) else value
        for name, value in whole.model.state_dict().items()
    }
    cut.model.load_state_dict(state)
    with torch.no_grad():  # a model that would write nothing but padding
        whole.model.lm_head.weight[n:] *= 50
    rows = encoded(asked)
    losses = [asked.loss(student(rows.inputs), rows.targets) for student in (whole, cut)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-5)
    losses[0].backward()
    assert whole.model.lm_head.weight.grad[n:].abs().max() == 0
    assert torch.equal(*(asked.write(student, rows.inputs, rows.targets) for student in (whole, cut)))


def test_scoring_makes_no_logits_of_all_positions(student: Student) -> None:
    asked, seen = posed(), []
    rows = encoded(asked)
    hook = student.model.lm_head.register_forward_hook(lambda module, given, out: seen.append(out.shape))
    asked.evaluated(student, rows.inputs, rows.targets)
    hook.remove()
    assert [shape[1] for shape in seen] == [0]


def test_what_is_written_does_not_depend_on_the_batch(student: Student) -> None:
    asked = posed()
    rows = encoded(asked)
    together = asked.write(student, rows.inputs, rows.targets)
    for i, prompt in enumerate(PROMPTS):
        ids = torch.tensor(tiny_language.tokenizer()(prompt)["input_ids"])
        alone = student.write([ids], max_new_tokens=8, ends=(0,))
        assert torch.equal(alone[0], together[i])
        said = ids
        for token in alone[0][alone[0] >= 0]:  # step by step, without a cache
            with torch.no_grad():
                assert student.model(input_ids=said[None]).logits[0, -1].argmax() == token
            said = torch.cat([said, token[None]])


def test_drawn_answers_follow_their_seed(home: Path) -> None:
    student, ids = made(home), [torch.tensor([5, 6, 7])] * 4
    before = torch.get_rng_state()
    drawn = [
        student.write(ids, max_new_tokens=8, ends=(0,), temperature=1.0, seed=seed) for seed in (0, 0, 1)
    ]
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_options_by_likelihood(student: Student) -> None:
    asked = posed(also=["option_accuracy", "option_mean_accuracy"])
    options = texts([("cba", "x"), ("dd", "d", "dddd"), ("you", "a")])
    rows = encoded(asked, options=options)
    _, found = asked.evaluated(student, rows.inputs, rows.targets)
    for i, (prompt, answer) in enumerate(zip(PROMPTS, ANSWERS)):
        sums, means = [], []
        for option in options[i]:
            ids = torch.tensor([tiny_language.tokenizer()(prompt + option)["input_ids"]])
            with torch.no_grad():
                said = student.model(input_ids=ids).logits[0].log_softmax(-1)
            parts = [said[k, ids[0, k + 1]] for k in range(len(prompt) - 1, ids.shape[1] - 1)]
            sums.append(float(sum(parts)))
            means.append(float(sum(parts)) / len(parts))
        right = options[i].index(answer)
        assert found["by_sum"][i] == float(max(range(len(sums)), key=sums.__getitem__) == right)
        assert found["by_mean"][i] == float(max(range(len(means)), key=means.__getitem__) == right)
    assert 0 <= asked.scores(found)["option_accuracy"] <= 1


def test_written_answers_are_compared_as_texts() -> None:
    class Writes:
        def write(self, prompts: Any, **options: Any) -> torch.Tensor:
            ids = tiny_language.tokenizer()(["cba</s>", "e</s>", "you too"], padding=False)["input_ids"]
            return torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row) for row in ids], batch_first=True, padding_value=-1
            )

    asked = posed(also=["exact_match", "rouge_l"])
    rows = encoded(asked, torch.tensor([True, True, True]))
    found = asked._written(Writes(), rows.inputs, rows.targets)
    assert found["exact_match"].tolist() == [1, 0, 0]
    assert found["rouge_l"].tolist() == pytest.approx([1, 0, 2 / 3])
    none = encoded(asked, torch.tensor([True, False, False]))
    assert asked._written(Writes(), none.inputs, none.targets)["exact_match"].isnan().tolist() == [
        False,
        True,
        True,
    ]


def test_unknown_answers_are_left_out(student: Student) -> None:
    asked = posed()
    rows = encoded(asked, torch.tensor([True, False, False]))
    assert asked.count(rows.targets) == 4
    loss, found = asked.evaluated(student, rows.inputs, rows.targets)
    assert found["tokens"].tolist() == [4, 0, 0]
    assert float(loss) == pytest.approx(float(found["nll"][0]))
    unknown = rows.targets.forgotten(torch.ones(3, dtype=torch.bool))
    nothing = asked.loss(student(rows.inputs), unknown)
    nothing.backward()
    assert nothing.item() == 0


def test_too_long_is_cut_and_told() -> None:
    asked = posed(max_new_tokens=3)
    rows = asked.encoded(
        {"prompt": texts(["abcdef>", "d>"]), "completion": texts(["fedc", "d"])},
        Targets(torch.zeros(2, 1), torch.tensor([True, True])),
        7,
        ("x", "y"),
    )
    decode = tiny_language.tokenizer().decode
    assert decode(rows.inputs["input_ids"][0]) == "def>fed"  # the prompt's end stays, the answer has none
    assert decode(rows.inputs["input_ids"][1][:4]) == "d>d</s>"
    assert rows.told == (
        "1 answers were longer than 3 tokens and were cut, so that they end without an end; raise max_new_tokens to "
        "keep them whole.",
        "1 prompts did not fit into 7 tokens beside their answers and lost their beginnings; raise student.max_length "
        "to keep them whole.",
    )
    with pytest.raises(ConfigError, match="leaves no room for a prompt"):
        asked.encoded({"prompt": texts(["a>"])}, Targets(torch.zeros(1, 1), torch.tensor([False])), 3, ("x",))


def test_an_answer_that_did_not_end_has_no_end() -> None:
    rows = encoded(posed(), ended=torch.tensor([True, False, True]))
    assert [int((row != -100).sum()) for row in rows.targets.values] == [4, 1, 4]


def test_a_beginning_is_not_doubled() -> None:
    wording = Wording(tiny_language.tokenizer(begins=True))
    begin = tiny_language.tokenizer().bos_token_id
    plain, own = wording.prompts(["ab", "<s>ab"])
    assert plain == own
    assert plain.count(begin) == 1
    assert Wording(tiny_language.tokenizer()).prompts(["ab"])[0].count(begin) == 0
    chat = Wording(tiny_language.tokenizer(begins=True, chat=True), chat=True, system="be")
    (spoken,) = chat.prompts(["ab"])
    assert spoken.count(begin) == 1
    assert tiny_language.tokenizer().decode(spoken) == "<s>s:be<turn>u:ab<turn>a:"
    assert chat.end == tiny_language.tokenizer().convert_tokens_to_ids("<turn>")
    assert set(chat.ends) == {chat.end, 0}
    (talk,) = chat.prompts([("", "ab", "c", "d")])
    assert tiny_language.tokenizer().decode(talk) == "<s>u:ab<turn>a:c<turn>u:d<turn>a:"


def test_what_cannot_be_put_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no chat template"):
        Wording(tiny_language.tokenizer(), chat=True)
    with pytest.raises(ConfigError, match="needs a chat template"):
        Wording(tiny_language.tokenizer()).prompts([("", "ab", "c", "d")])
    with pytest.raises(DataError, match="Row 'x' has a prompt of no tokens"):
        posed().encoded(
            {"prompt": texts([""])}, Targets(torch.zeros(1, 1), torch.tensor([False])), 24, ("x",)
        )
    with pytest.raises(UnknownNameError, match="exact_match"):
        posed(also=["exact"])
    with pytest.raises(ConfigError, match="max_new_tokens of at least 1"):
        posed(max_new_tokens=0)
