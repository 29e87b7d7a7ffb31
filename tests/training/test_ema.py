from __future__ import annotations

from types import ModuleType

import torch

from limbeck.students.student import Student
from limbeck.training.ema import EMA


def make(toy: ModuleType, decay: float = 0.9) -> tuple[Student, EMA]:
    torch.manual_seed(0)
    student = Student(toy.noisy_net())
    student.probe(toy.examples().rows([0, 1]))
    return student, EMA(student, decay)


def test_update_follows_weights_and_buffers(toy: ModuleType) -> None:
    student, ema = make(toy)
    start = {name: value.clone() for name, value in student.state_dict().items()}
    student.train()
    student(toy.examples().rows(range(16)))
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1.0)
    ema.update(student, 0)  # min(0.9, 1 / 10): nine tenths of the way
    now = student.state_dict()
    for name, value in ema.student.state_dict().items():
        expected = now[name] if not value.is_floating_point() else 0.1 * start[name] + 0.9 * now[name]
        assert torch.allclose(value, expected, atol=1e-6), name
    before = {name: value.clone() for name, value in ema.student.state_dict().items()}
    ema.update(student, 10_000)  # late: the decay itself
    name = "model.0.weight"
    assert torch.allclose(ema.student.state_dict()[name], 0.9 * before[name] + 0.1 * now[name], atol=1e-6)


def test_bfloat16_weights_are_followed_too() -> None:
    """A hundredth of a small difference is below the resolution of bfloat16, but adds up."""
    student = Student(torch.nn.Sequential(torch.nn.Linear(4, 3)).to(torch.bfloat16))
    ema = EMA(student, 0.99)
    with torch.no_grad():
        for p in student.parameters():
            p.copy_(p * 1.1)
    for t in range(1000, 2000):
        ema.update(student, t)
    for mine, new in zip(ema.student.parameters(), student.parameters()):
        assert mine.dtype == torch.bfloat16
        assert torch.allclose(mine.float(), new.float(), rtol=0.01)


def test_weak_view_uses_the_batch_and_leaves_statistics(toy: ModuleType) -> None:
    _, ema = make(toy)
    before = {name: value.clone() for name, value in ema.student.state_dict().items()}
    rows = toy.examples().rows(range(16))
    out = ema.weak_view(rows)
    assert not out.logits.requires_grad
    assert all(torch.equal(before[name], value) for name, value in ema.student.state_dict().items())
    assert len(ema.weak_view({"x": rows["x"][:0]}).logits) == 0


def test_it_stays_out_of_training(toy: ModuleType) -> None:
    made = make(toy)[1]
    made.train()
    assert not made.training
    assert not made.student.training
    assert not any(p.requires_grad for p in made.parameters())
