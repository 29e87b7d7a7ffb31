import pytest
import torch

from limbeck.layers import linear_projector, mlp_projector


@pytest.mark.parametrize("make", [linear_projector, mlp_projector])
def test_maps_the_last_axis(make):
    assert make(3, 5)(torch.randn(2, 4, 3)).shape == (2, 4, 5)


def test_mlp_has_the_asked_depth_and_width():
    widths = [m.out_features for m in mlp_projector(3, 5, hidden=7, n_hidden=2) if hasattr(m, "out_features")]
    assert widths == [7, 7, 5]


def test_a_projection_does_not_depend_on_the_other_rows():
    project, x = mlp_projector(3, 5), torch.randn(6, 3)
    torch.testing.assert_close(project(x)[:2], project(x[:2]))
