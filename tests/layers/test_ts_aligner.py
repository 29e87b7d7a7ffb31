from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError
from limbeck.layers import TSAligner


def test_shapes():
    aligner = TSAligner(6, 9, 4, width=5)
    z_s, z_t = aligner.project_student(torch.randn(2, 6)), aligner.project_teacher(torch.randn(3, 9))
    assert (z_s.shape, z_t.shape) == ((2, 5), (3, 5))
    assert aligner.head(z_t).shape == (3, 4)
    assert aligner.auxiliary_head(z_s).shape == (2, 4)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_and_width_of_each_projection(depth):
    aligner = TSAligner(6, 9, 4, width=5, depth=depth)
    for projection, d_in in ((aligner.student_projection, 6), (aligner.teacher_projection, 9)):
        layers = [m for m in projection if isinstance(m, nn.Linear)]
        assert [m.in_features for m in layers] == [d_in] + [5] * (depth - 1)
        assert [m.out_features for m in layers] == [5] * depth
        assert sum(isinstance(m, nn.GELU) for m in projection) == depth - 1


def test_the_scale_of_a_teacher_does_not_matter():
    aligner, x = TSAligner(6, 9, 4, width=5), torch.randn(3, 9)
    for scale, shift in ((1e4, 0.0), (1.0, 50.0)):
        torch.testing.assert_close(
            aligner.project_teacher(scale * x + shift), aligner.project_teacher(x), rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_representations_come_in_any_type(dtype):
    aligner, x = TSAligner(6, 9, 4, width=5), torch.randn(3, 6).to(dtype).requires_grad_()
    z = aligner.project_student(x)
    assert z.dtype == torch.float32
    z.sum().backward()
    assert x.grad is not None
    assert aligner.double().project_student(x).dtype == torch.float64


def test_the_teacher_takes_no_gradient():
    aligner, x = TSAligner(6, 9, 4, width=5), torch.randn(3, 9, requires_grad=True)
    aligner.project_teacher(x).sum().backward()
    assert x.grad is None
    assert all(p.grad is not None for p in aligner.teacher_projection.parameters())


def test_a_row_does_not_depend_on_the_others():
    aligner, x = TSAligner(6, 9, 4, width=5).train(), torch.randn(4, 9)
    torch.testing.assert_close(aligner.project_teacher(x)[:1], aligner.project_teacher(x[:1]))


def test_two_numbers_are_no_representation():
    with pytest.raises(ConfigError, match="needs teacher representations of 3 numbers or more; these have 2"):
        TSAligner(6, 2, 4)
    with pytest.raises(ConfigError, match="student"):
        TSAligner(1, 6, 4)
