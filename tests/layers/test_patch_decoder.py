"""Which token the decoder puts where."""

from __future__ import annotations

import torch

from limbeck.layers import PatchDecoder
from limbeck.layers.patch_decoder import grid_places


def test_each_token_stands_at_its_place_and_the_rest_is_the_mask() -> None:
    torch.manual_seed(0)
    made = PatchDecoder(6, 4, (2, 3), inner=8, layers=1, heads=2)
    entered: list[torch.Tensor] = []
    made.blocks[0].register_forward_pre_hook(lambda m, args: entered.append(args[0]))
    tokens, index = torch.randn(2, 3, 6), torch.tensor([[4, 0], [1, 5]])
    assert made(tokens, index).shape == (2, 6, 4)
    x, embedded = entered[0], made.embed(tokens)
    torch.testing.assert_close(x[:, 0], embedded[:, 0])  # the class token has no place
    for row in range(2):
        for place in range(6):
            seen = (index[row] == place).nonzero()
            wanted = embedded[row, 1 + int(seen)] if len(seen) else made.hidden[0, 0]
            torch.testing.assert_close(x[row, 1 + place], wanted + made.places[place])


def test_places_tell_rows_from_columns() -> None:
    places = grid_places((3, 4), 8).reshape(3, 4, 8)
    assert torch.equal(places[0, 1, :4], places[0, 2, :4])
    assert torch.equal(places[0, 1, 4:], places[2, 1, 4:])
    assert len(torch.unique(places.reshape(12, 8), dim=0)) == 12
    torch.testing.assert_close(places[2, 0, 0], torch.tensor(2.0).sin())
