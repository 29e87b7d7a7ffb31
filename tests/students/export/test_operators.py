"""The operators of a shipped program: pure functions, whose arguments are checked where the kernel does not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.students.export.operators import CHECKS, NUMBERS, OPERATORS, call_operator

X = torch.linspace(-1, 1, 20).reshape(4, 5)


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_an_operator_changes_nothing_and_opens_nothing(name):
    packet, overload = name.split(".")
    operator = getattr(getattr(torch.ops.aten, packet), overload)
    schema = operator._schema
    assert not schema.is_mutable
    kinds = " ".join(str(argument.type) for argument in schema.arguments)
    assert not any(kind in kinds for kind in ("Generator", "Storage", "Stream", "Any", "Dict", "Dimname"))
    assert not {argument.name for argument in schema.arguments} & {"filename", "out", "generator"}
    random = torch.Tag.nondeterministic_seeded in operator.tags
    assert not random or name in CHECKS  # dropout in recurrent layers and attention, which the checks refuse
    returned = {str(value.type) for value in schema.returns}
    assert returned <= {"Tensor", "List[Tensor]", "number", "int"}


def test_what_is_not_listed_is_not_called():
    for name in ("from_file.default", "relu_.default", "relu", "relu.__call__", "relu.default.x", ""):
        with pytest.raises(ValueError, match="not allowed"):
            call_operator(name, (X,), {})
    assert not {"getattr", "eval", "lshift", "__import__"} & set(NUMBERS)


ROWS = torch.arange(6)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        # what the kernels would read beyond the end of
        ("embedding_bag.padding_idx", (X, ROWS, torch.tensor([0, 5, 2]), False, 1, False, None, False, None)),
        (
            "embedding_bag.padding_idx",
            (X, ROWS % 4, torch.tensor([0, 900]), False, 1, False, None, False, None),
        ),
        (
            "embedding_bag.padding_idx",
            (X, ROWS * 9, torch.tensor([0, 2]), False, 1, False, None, False, None),
        ),
        (
            "embedding_bag.padding_idx",
            (X, ROWS % 4, torch.tensor([0, 2]), False, 7, False, None, False, None),
        ),
        ("_native_batch_norm_legit_no_training.default", (X, None, None, X[0, :2], X[0, :2], 0.1, 1e-5)),
        ("_native_batch_norm_legit_no_training.default", (X, X[0, :1], None, X[0], X[0], 0.1, 1e-5)),
        ("_weight_norm.default", (X, torch.ones(1, 1), 0)),
        ("_weight_norm.default", (X, torch.ones(4, 1), 1)),
        ("einsum.default", ("ab,bc->ac", [X, X.T])),
    ],
)
def test_kernels_that_trust_their_caller_are_not_called(name, arguments):
    options = {"path": [7, 9]} if name.startswith("einsum") else {}
    with pytest.raises(ValueError, match="do not fit together"):
        call_operator(name, arguments, options)


@pytest.mark.parametrize(("kind", "gates"), [("lstm", 4), ("gru", 3), ("rnn_tanh", 1)])
def test_recurrent_layers_have_weights_of_their_sizes(kind, gates):
    layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn_tanh": nn.RNN}[kind](5, 8, num_layers=2, batch_first=True)
    values, state = torch.randn(2, 6, 5), torch.zeros(2, 2, 8)
    states = [state, state] if kind == "lstm" else state
    weights = [parameter.detach() for parameter in layer.parameters()]
    rest = (True, 2, 0.0, False, False, True)
    found = call_operator(f"{kind}.input", (values, states, weights, *rest), {})
    torch.testing.assert_close(found[0], layer(values)[0])
    for place in range(len(weights)):
        short = [w[: gates * 8 - 1] if i == place else w for i, w in enumerate(weights)]
        with pytest.raises(ValueError, match="do not fit together"):
            call_operator(f"{kind}.input", (values, states, short, *rest), {})
    for bad in (states[:1] if kind == "lstm" else state[:1], torch.zeros(2, 2, 9)):
        with pytest.raises((ValueError, AttributeError, TypeError)):
            call_operator(f"{kind}.input", (values, bad, weights, *rest), {})


@pytest.mark.parametrize(
    ("query", "key", "mask"),
    [
        ((2, 4, 6, 8), (2, 4, 6, 7), None),
        ((2, 4, 6, 8), (3, 4, 6, 8), None),
        ((2, 4, 6, 8), (2, 4, 6, 8), (7, 6)),
        ((2, 4, 6, 8), (2, 4, 6, 8), (3, 1, 6, 6)),
    ],
)
def test_an_attention_has_shapes_that_fit(query, key, mask):
    q, k = torch.randn(query), torch.randn(key)
    with pytest.raises((ValueError, RuntimeError)):
        call_operator(
            "scaled_dot_product_attention.default", (q, k, k, None if mask is None else torch.zeros(mask)), {}
        )
