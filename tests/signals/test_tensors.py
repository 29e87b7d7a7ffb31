"""Arrays of the scientific stack become tensors, or a sentence."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from limbeck.errors import DataError
from limbeck.signals.tensors import tensor_of

X = np.arange(6, dtype=np.float32).reshape(3, 2)


def test_forms_of_an_array():
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    frozen = X.copy()
    frozen.flags.writeable = False
    forms = [
        X,
        X[::-1][::-1],
        X.T.copy().T,
        X.astype(">f4"),
        X.astype(np.longdouble),
        X.tolist(),
        [torch.tensor(row) for row in X],
        pandas.DataFrame(X),
        sparse.csr_matrix(X),
        frozen,
        list(X),
        pandas.Series(X.tolist()),
        X.astype(np.int64),
    ]
    for form in forms:
        found = tensor_of(form, "features")
        assert torch.equal(found.float(), torch.from_numpy(X))
    reversed_rows = tensor_of(X[::-1], "features")
    assert torch.equal(reversed_rows, torch.from_numpy(X[::-1].copy()))
    tensor = torch.ones(2)
    assert tensor_of(tensor, "features") is tensor
    assert tensor_of([[1.0]], "features").dtype == torch.float32  # as torch reads lists
    assert tensor_of(X.astype(np.float16), "features").dtype == torch.float16
    assert torch.isnan(tensor_of(pandas.DataFrame({"a": [1.0, None]}), "features")).tolist() == [
        [False],
        [True],
    ]


@pytest.mark.parametrize(
    "value",
    [["a"], np.array(["a"]), [[1.0], [1.0, 2.0]], {1}, np.zeros(2, complex), [torch.ones(1), torch.ones(2)]],
)
def test_what_is_no_array_of_numbers(value):
    with pytest.raises(DataError, match="The features are no array of numbers"):
        tensor_of(value, "features")
