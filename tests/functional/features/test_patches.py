"""Pictures in patches, and the error of those that were hidden."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import DataError
from limbeck.functional import hidden_patch_mse, patches_of


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_patches_are_squares_row_by_row() -> None:
    x = drawn(2, 3, 4, 6)
    found = patches_of(x, 2)
    assert found.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            square = x[1, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            assert torch.equal(found[1, 3 * row + column], square.movedim(0, -1).flatten())


@pytest.mark.parametrize("standardise", [True, False])
def test_value_and_gradient_are_those_of_a_loop(standardise: bool) -> None:
    guess, true = drawn(3, 5, 4).requires_grad_(), drawn(3, 5, 4, seed=1)
    hidden = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]])
    total = torch.zeros((), dtype=torch.float64)
    for g, t, h in zip(guess, true, hidden):
        errors = []
        for patch in range(5):
            wanted = t[patch]
            if standardise:
                wanted = (wanted - wanted.mean()) / (wanted.var() + 1e-6) ** 0.5
            if h[patch]:
                errors.append(((g[patch] - wanted) ** 2).mean())
        total = total + torch.stack(errors).mean()
    found = hidden_patch_mse(guess, true, hidden, standardise=standardise, reduction="sum")
    torch.testing.assert_close(found, total, rtol=1e-9, atol=0)
    (ours,), (theirs,) = torch.autograd.grad(found, guess), torch.autograd.grad(total, guess)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert not ours[hidden == 0].any()
    assert torch.autograd.gradcheck(lambda x: hidden_patch_mse(x, true, hidden), guess)


def test_edges() -> None:
    x = drawn(2, 3, 4)
    assert float(hidden_patch_mse(x, x, torch.zeros(2, 3))) == 0
    assert float(hidden_patch_mse(x[:0], x[:0], torch.ones(0, 3))) == 0
    flat = torch.ones(2, 3, 4).requires_grad_()
    hidden_patch_mse(flat, torch.ones(2, 3, 4), torch.ones(2, 3)).backward()  # a patch of one colour
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="of sides that 3 divides"):
        patches_of(torch.ones(1, 1, 4, 4), 3)
    with pytest.raises(DataError, match=r"hidden \(n, l\)"):
        hidden_patch_mse(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 3))
