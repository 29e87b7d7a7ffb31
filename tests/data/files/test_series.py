"""Series of every form are one tensor; what is none is named; views keep what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from raw_files import write_csv

from limbeck.data.base import Examples
from limbeck.data.files.readers import MediaReader, file_reader
from limbeck.data.files.series import read_series
from limbeck.data.files.views import SeriesView, series_views
from limbeck.data.own.cutting import standardised
from limbeck.errors import ConfigError, DataError
from limbeck.students.sizing import sized_config

STEPS = [(0.0, 1.0), (2.0, 3.0), (4.5, -5.0)]
WANTED = torch.tensor(STEPS).T


@pytest.mark.parametrize("form", ["header", "bare", "npy", "parquet", "lists", "array", "one"])
def test_every_form_is_channels_by_steps(form, tmp_path):
    value, wanted = tmp_path / "s.csv", WANTED
    if form == "header":
        write_csv(value, ("x", "y"), STEPS)
    elif form == "bare":
        value.write_text("".join(f"{x},{y}\n" for x, y in STEPS))
    elif form == "npy":
        value = tmp_path / "s.npy"
        np.save(value, np.array(STEPS).T)
    elif form == "parquet":
        import pandas

        value = tmp_path / "s.parquet"
        pandas.DataFrame(STEPS, columns=["x", "y"]).to_parquet(value)
    elif form == "one":
        value, wanted = [1, 2, 3], torch.tensor([[1.0, 2.0, 3.0]])
    else:
        value = WANTED.tolist() if form == "lists" else WANTED.numpy()
    assert torch.equal(read_series(value), wanted)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x,y\n1,2\n3,blue\n", r"s.csv holds what is no number \(line 3\)"),
        ("x,y\n1,2\n3,nan\n", r"not finite \(channel 1, step 1\)"),
        ("", "s.csv is an empty file"),
        ([[1.0, 2.0], [3.0]], "same length"),
        (["a", "b"], "no array of numbers"),
        ([], r"shape \[1, 0\]"),
        ({"a": 1}, "is dict"),
    ],
)
def test_what_is_no_series_is_named(value, said, tmp_path):
    if isinstance(value, str):
        (tmp_path / "s.csv").write_text(value)
        value = tmp_path / "s.csv"
    with pytest.raises(DataError, match=said):
        read_series(value)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "s.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as an array"):
        read_series(tmp_path / "s.npy")


def test_other_lengths_are_cut_and_filled_only_where_asked():
    settings = {"kind": "series", "channels": 1, "length": 3, "fits": True}
    read = MediaReader(settings)
    assert read([1, 2, 3, 4]).tolist() == [[1, 2, 3]]
    assert read([1, 2]).tolist() == [[1, 2, 2]]
    with pytest.raises(DataError, match="set length: 3"):
        MediaReader(settings | {"fits": False})([1, 2])
    with pytest.raises(DataError, match="2 channels where the first has 1"):
        read([[1, 2, 3], [1, 2, 3]])


def test_what_ships_standardises_as_the_training_did(tmp_path):
    x = torch.randn(9, 2, 5) * torch.tensor([3.0, 0.1])[:, None] + torch.tensor([50.0, -2.0])[:, None]
    rows = Examples.classified({"x": x}, tuple(range(9)), torch.zeros(9, dtype=torch.long), ("a",))
    splits, mean, deviation = standardised({"train": rows}, "train")
    made = splits["train"].rows(range(9))["x"]
    torch.testing.assert_close(made.mean((0, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(made.std((0, 2), correction=0), torch.ones(2))
    np.save(tmp_path / "s.npy", x[3].numpy())
    settings = {"kind": "series", "channels": 2, "length": 5, "fits": False}
    read = file_reader(settings | {"mean": mean.tolist(), "deviation": deviation.tolist()})
    torch.testing.assert_close(read(tmp_path / "s.npy"), made[3])


def test_views_move_all_channels_alike():
    x = torch.arange(40.0).repeat(3, 1)[None]
    made = SeriesView(shift=0.2, mask=0.2)({"x": x}, [torch.Generator().manual_seed(1)])["x"]
    assert not torch.equal(made, x)
    assert torch.equal(made[0, 0], made[0, 2])
    assert set(made.flatten().tolist()) <= set(range(40))
    weak, strong = (
        view({"x": x}, [torch.Generator().manual_seed(0)])["x"] for view in series_views().values()
    )
    assert (weak - x).abs().max() < (strong - x).abs().max()


def test_the_encoder_takes_its_channels_from_the_rows():
    rows = Examples.classified({"x": torch.randn(2, 3, 8)}, (0, 1), torch.tensor([0, 1]), ("a", "b"))
    assert sized_config("series_encoder", {}, rows) == {"in_channels": 3}
    with pytest.raises(ConfigError, match="take series_encoder"):
        sized_config("small_conv_net", {}, rows)
