"""Divergences of predictions: closed forms, laws, edges."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from limbeck.errors import ConfigError, DataError, NonFiniteError, UnknownNameError
from limbeck.functional import bag_proportion_kl, distillation_kl, label_alignment, soft_cross_entropy

sizes = st.integers(1, 6)


def logits(n: int, c: int, seed: int, scale: float = 3.0) -> torch.Tensor:
    return scale * torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class TestDistillationKL:
    @settings(deadline=None)
    @given(n=sizes, c=sizes, seed=st.integers(0, 999), temperature=st.floats(0.1, 50))
    def test_zero_at_equality_and_never_below(self, n, c, seed, temperature):
        s, t = logits(n, c, seed), logits(n, c, seed + 1000)
        assert abs(float(distillation_kl(s, s, temperature=temperature))) < 1e-9
        assert float(distillation_kl(s, t, temperature=temperature)) > -1e-9

    @settings(deadline=None)
    @given(seed=st.integers(0, 999), shift=st.floats(-50, 50))
    def test_blind_to_a_shift_of_logits(self, seed, shift):
        s, t = logits(4, 5, seed), logits(4, 5, seed + 1000)
        torch.testing.assert_close(distillation_kl(s + shift, t - shift), distillation_kl(s, t))

    def test_two_classes_in_closed_form(self):
        p, q = 0.9, 0.3
        s, t = (torch.tensor([[math.log(v), math.log(1 - v)]]) for v in (q, p))
        expected = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
        assert float(distillation_kl(s, t)) == pytest.approx(expected, rel=1e-5)

    def test_sum_over_a_batch_is_the_sum_over_its_halves(self):
        s, t = logits(6, 4, 0), logits(6, 4, 1)
        whole = distillation_kl(s, t, temperature=4.0, reduction="sum")
        halves = [
            distillation_kl(a, b, temperature=4.0, reduction="sum") for a, b in zip(s.split(3), t.split(3))
        ]
        torch.testing.assert_close(whole, sum(halves))
        torch.testing.assert_close(distillation_kl(s, t, temperature=4.0, reduction="none").sum(), whole)

    def test_a_class_that_the_teacher_excludes(self):
        t = torch.tensor([[0.0, 0.0, -torch.inf]])
        s = torch.zeros(1, 3, requires_grad=True)
        value = distillation_kl(s, t)
        assert float(value.detach()) == pytest.approx(math.log(1.5))
        assert torch.autograd.grad(value, s)[0].isfinite().all()

    @pytest.mark.parametrize("scale", [1e-4, 1e4])
    def test_finite_for_huge_and_tiny_logits(self, scale):
        s = (scale * logits(3, 4, 0)).float().requires_grad_()
        value = distillation_kl(s, (scale * logits(3, 4, 1)).float())
        assert value.isfinite()
        assert torch.autograd.grad(value, s)[0].isfinite().all()

    def test_gradcheck(self):
        s, t = logits(3, 4, 0).requires_grad_(), logits(3, 4, 1)
        assert torch.autograd.gradcheck(lambda x: distillation_kl(x, t, temperature=2.0), s)

    def test_teacher_takes_no_gradient(self):
        s, t = logits(3, 4, 0).requires_grad_(), logits(3, 4, 1).requires_grad_()
        distillation_kl(s, t).backward()
        assert t.grad is None

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_computes_in_float32(self, dtype):
        s, t = logits(3, 4, 0).to(dtype).requires_grad_(), logits(3, 4, 1).to(dtype)
        value = distillation_kl(s, t, temperature=4.0)
        assert value.dtype == torch.float32
        assert torch.autograd.grad(value, s)[0].dtype == dtype
        torch.testing.assert_close(value, distillation_kl(s.float(), t.float(), temperature=4.0))

    def test_empty_batch_is_zero(self):
        s = torch.zeros(0, 4, requires_grad=True)
        value = distillation_kl(s, torch.zeros(0, 4))
        value.backward()
        assert float(value.detach()) == 0.0

    def test_refusals(self):
        with pytest.raises(DataError, match=r"\(2, 3\) and \(2, 4\)"):
            distillation_kl(torch.zeros(2, 3), torch.zeros(2, 4))
        with pytest.raises(ConfigError, match="temperature must be > 0"):
            distillation_kl(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0.0)
        with pytest.raises(UnknownNameError, match="did you mean 'mean'"):
            distillation_kl(torch.zeros(2, 3), torch.zeros(2, 3), reduction="meen")  # type: ignore[arg-type]
        bad = torch.zeros(3, 3)
        bad[1, 2] = torch.nan
        with pytest.raises(NonFiniteError, match=r"logits_s .* row 1"):
            distillation_kl(bad, torch.zeros(3, 3), validate=True)


class TestSoftCrossEntropy:
    def test_one_hot_labels_give_cross_entropy(self):
        s, y = logits(5, 4, 0), torch.tensor([0, 3, 1, 1, 2])
        torch.testing.assert_close(soft_cross_entropy(s, F.one_hot(y, 4).double()), F.cross_entropy(s, y))

    @settings(deadline=None)
    @given(seed=st.integers(0, 999))
    def test_exceeds_kl_by_the_entropy_of_the_labels(self, seed):
        s, t = logits(4, 5, seed), logits(4, 5, seed + 1000)
        q = t.softmax(1)
        entropy = -(q * q.log()).sum(1).mean()
        torch.testing.assert_close(soft_cross_entropy(s, q), distillation_kl(s, t) + entropy)

    def test_gradcheck(self):
        s, q = logits(3, 4, 0).requires_grad_(), logits(3, 4, 1).softmax(1)
        assert torch.autograd.gradcheck(lambda x: soft_cross_entropy(x, q), s)


class TestLabelAlignment:
    head = (logits(4, 6, 2, 0.5), logits(1, 4, 3, 0.5)[0])
    labels = torch.tensor([0, 3, 1])

    def value(self, s, f, **options):
        return label_alignment(s, f, self.head, self.labels, **options)

    def test_paper_without_smoothing_is_the_official_joint_mode(self):
        s, f = logits(3, 4, 0), logits(3, 6, 1)
        torch.testing.assert_close(self.value(s, f), self.value(s, f, variant="official_sumall"))
        torch.testing.assert_close(
            self.value(s, f, variant="official_sumall"),
            self.value(s, f, variant="official_sumall", label_smoothing=0.1),
        )

    def test_bilevel_has_the_value_of_the_paper_and_the_gradient_of_plain_cross_entropy(self):
        s, f = logits(3, 4, 0).requires_grad_(), logits(3, 6, 1).requires_grad_()
        value = self.value(s, f, variant="official_bilevel", label_smoothing=0.1)
        torch.testing.assert_close(value, self.value(s, f, label_smoothing=0.1))
        to_s, to_f = torch.autograd.grad(value, (s, f), allow_unused=True)
        plain = F.cross_entropy(s, self.labels, label_smoothing=0.1)
        torch.testing.assert_close(to_s, torch.autograd.grad(plain, s)[0])
        assert to_f is None

    def test_confidence_is_held(self):
        f = logits(3, 6, 1).requires_grad_()
        found = torch.autograd.grad(self.value(logits(3, 4, 0), f), f)[0]
        z = F.linear(f, *self.head)
        kappa = z.softmax(1).gather(1, self.labels[:, None])[:, 0].detach()
        expected = -(kappa * F.cross_entropy(z, self.labels, reduction="none")).mean()
        torch.testing.assert_close(found, torch.autograd.grad(expected, f)[0])

    def test_unlabelled_rows_are_left_out(self):
        s, f = logits(4, 4, 0), logits(4, 6, 1)
        labels = torch.tensor([0, -100, 3, 1])
        kept = [0, 2, 3]
        torch.testing.assert_close(
            label_alignment(s, f, self.head, labels, label_smoothing=0.1),
            label_alignment(s[kept], f[kept], self.head, labels[kept], label_smoothing=0.1),
        )
        assert float(label_alignment(s, f, self.head, labels, reduction="none")[1]) == 0.0

    def test_a_head_without_bias(self):
        s, f = logits(3, 4, 0), logits(3, 6, 1)
        weight = self.head[0]
        torch.testing.assert_close(
            label_alignment(s, f, (weight, None), self.labels),
            label_alignment(s, f, (weight, torch.zeros(4)), self.labels),
        )

    def test_stays_float32_under_autocast(self):
        s, f = logits(3, 4, 0).float(), logits(3, 6, 1).float()
        head = tuple(x.float() for x in self.head)
        expected = label_alignment(s, f, head, self.labels)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(label_alignment(s, f, head, self.labels), expected)

    def test_refusals(self):
        with pytest.raises(DataError, match=r"must be \(classes, width\) = \(4, 5\)"):
            self.value(logits(3, 4, 0), logits(3, 5, 1))
        with pytest.raises(UnknownNameError, match="official_bilevel"):
            self.value(logits(3, 4, 0), logits(3, 6, 1), variant="bilevel")

    @pytest.mark.parametrize("variant", ["paper", "official_sumall", "official_bilevel"])
    def test_a_weight_counts_a_row_of_its_class_so_often(self, variant):
        s, f = logits(3, 4, 0), logits(3, 6, 1)
        weights = torch.tensor([3.0, 2.0, 1.0, 0.0])
        found = label_alignment(
            s, f, self.head, self.labels, variant=variant, class_weights=weights, reduction="sum"
        )
        again = [0, 0, 0, 2, 2]  # classes 0 and 1; class 3 weighs nothing
        labels = self.labels[again]
        torch.testing.assert_close(
            found, label_alignment(s[again], f[again], self.head, labels, variant=variant, reduction="sum")
        )


class TestBagProportionKL:
    def test_zero_when_the_proportions_agree(self):
        s, bags = logits(6, 3, 0), torch.tensor([0, 1, 0, 1, 1, 0])
        target = torch.stack([s[bags == b].softmax(1).mean(0) for b in (0, 1)])
        assert abs(float(bag_proportion_kl(s, bags, target))) < 1e-12

    def test_is_kl_up_to_eps(self):
        s, target = logits(5, 3, 0), torch.tensor([[0.2, 0.3, 0.5]], dtype=torch.float64)
        mean = s.softmax(1).mean(0)
        expected = (target[0] * (target[0] / mean).log()).sum()
        found = bag_proportion_kl(s, torch.zeros(5, dtype=torch.long), target, eps=1e-12)
        torch.testing.assert_close(found, expected)

    @settings(deadline=None)
    @given(seed=st.integers(0, 999))
    def test_blind_to_the_order_of_rows(self, seed):
        s, bags = logits(7, 3, seed), torch.tensor([0, 1, 0, 2, 1, 1, 0])
        target, order = logits(3, 3, seed + 1).softmax(1), torch.randperm(7)
        torch.testing.assert_close(
            bag_proportion_kl(s, bags, target), bag_proportion_kl(s[order], bags[order], target)
        )

    def test_empty_bags_and_loose_rows_count_nothing(self):
        s, target = logits(3, 3, 0), logits(4, 3, 1).softmax(1)
        values = bag_proportion_kl(s, torch.tensor([2, -1, 2]), target, reduction="none")
        assert values[[0, 1, 3]].eq(0).all()
        torch.testing.assert_close(bag_proportion_kl(s, torch.tensor([2, -1, 2]), target), values[2])

    def test_gradcheck_and_extreme_logits(self):
        bags, target = (
            torch.tensor([0, 1, 0]),
            torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5]], dtype=torch.float64),
        )
        assert torch.autograd.gradcheck(
            lambda x: bag_proportion_kl(x, bags, target), logits(3, 3, 0).requires_grad_()
        )
        s = (1e4 * logits(3, 3, 0)).float().requires_grad_()
        value = bag_proportion_kl(s, bags, target.float())
        assert value.isfinite()
        assert torch.autograd.grad(value, s)[0].isfinite().all()

    def test_refusals(self):
        with pytest.raises(DataError, match="names bag 5"):
            bag_proportion_kl(torch.zeros(2, 3), torch.tensor([0, 5]), torch.ones(2, 3) / 3)
        with pytest.raises(DataError, match="do not fit"):
            bag_proportion_kl(torch.zeros(2, 4), torch.tensor([0, 1]), torch.ones(2, 3) / 3)
