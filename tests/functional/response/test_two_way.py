"""What is not the target: variants, edges."""

from __future__ import annotations

import pytest
import torch

from limbeck import functional as L
from limbeck.errors import DataError, UnknownNameError

Y = torch.tensor([0, 3, 1, 2])


def logits(seed: int, n: int = 4, c: int = 5) -> torch.Tensor:
    return torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_target_is_gone_in_the_paper_and_zero_in_the_code():
    s, t = logits(0), logits(1)
    moved = s + 9 * torch.nn.functional.one_hot(Y, 5)
    for variant in ("paper", "official"):
        torch.testing.assert_close(
            L.non_target_kl(moved, t, Y, variant=variant), L.non_target_kl(s, t, Y, variant=variant)
        )
    cut = [torch.cat([row[:y], row[y + 1 :]])[None] for x in (s, t) for row, y in zip(x, Y.tolist())]
    torch.testing.assert_close(L.non_target_kl(s, t, Y), L.divergence(torch.cat(cut[:4]), torch.cat(cut[4:])))
    zero = [x * (1 - torch.nn.functional.one_hot(Y, 5)) for x in (s, t)]
    torch.testing.assert_close(L.non_target_kl(s, t, Y, variant="official"), L.divergence(*zero))


def test_rows_that_do_not_count_stay_in_the_mean():
    s, t, mask = logits(0), logits(1), torch.tensor([True, False, False, True])
    rows = L.non_target_kl(s, t, Y, reduction="none")
    torch.testing.assert_close(L.non_target_kl(s, t, Y, mask=mask), rows[mask].sum() / 4)
    nothing = L.non_target_kl(s.requires_grad_(), t, Y, mask=~mask & mask)
    assert float(nothing) == 0
    assert not torch.autograd.grad(nothing, s)[0].any()


def test_bad_input():
    z = logits(0)
    with pytest.raises(DataError, match=r"labels must lie in \[0, 5\)"):
        L.non_target_kl(z, z, Y - 1)
    with pytest.raises(DataError, match=r"mask must be \(4,\)"):
        L.non_target_kl(z, z, Y, mask=torch.ones(2))
    with pytest.raises(UnknownNameError, match="unknown variant"):
        L.non_target_kl(z, z, Y, variant="code")
