"""The offline illustrator: which emoji a sentence gets, and the pictures a teacher learns from and is asked about."""

import doctest

import pytest
import torch
from small_emoji import EMOJI, emoji_folder

from limbeck.data.base import Examples, texts
from limbeck.data.benchmarks import illustrate
from limbeck.data.benchmarks.illustrate import Illustrator, coverage, emoji_illustrator, picture_splits
from limbeck.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return emoji_folder(tmp_path_factory.mktemp("emoji"))


@pytest.fixture(scope="module")
def illustrator(folder) -> Illustrator:
    return emoji_illustrator(folder, size=8)


def names(illustrator, text, n=4):
    return [illustrator.names[number] for number in illustrator.choose(text, n)]


def test_the_examples_of_the_docstrings_hold():
    assert doctest.testmod(illustrate).failed == 0


def test_names_and_keywords_are_found_in_the_order_of_the_sentence(illustrator):
    assert names(illustrator, "The cities of Iraq have many dogs.") == ["city", "flag: Iraq", "dog face"]


def test_a_name_of_two_words_must_occur_as_a_whole(illustrator):
    assert names(illustrator, "The United States won.") == ["flag: United States"]
    assert names(illustrator, "The states are united.") == []


def test_stop_words_draw_nothing(illustrator):
    assert names(illustrator, "this is a flag, and no other") == []


def test_no_word_is_drawn_twice(illustrator):
    # both pets share a keyword, but the second of them would say nothing new
    assert len(names(illustrator, "A pet.")) == 1
    assert names(illustrator, "A tiger, a tiger and one more tiger.") == ["tiger"]


def test_no_more_are_drawn_than_asked_for(illustrator):
    text = "dog cat tiger Iraq city shoe"
    assert len(names(illustrator, text)) == 4
    assert len(names(illustrator, text, 2)) == 2


def test_a_text_without_emoji_is_white(illustrator):
    strip = illustrator.row(["Nothing here."])
    assert strip.shape == (3, 8, 32)
    assert bool((strip == 1).all())


def test_a_pair_shares_the_slots(illustrator):
    strip = illustrator.row(["a tiger", "Iraq"])
    tiger, iraq = (torch.tensor(EMOJI[i][4]) / 255 for i in (2, 3))
    slots = strip.reshape(3, 8, 4, 8)[:, 4, :, 4]  # one pixel of each slot
    assert torch.allclose(slots, torch.stack([tiger, torch.ones(3), iraq, torch.ones(3)], 1), atol=1e-6)


def test_three_texts_fill_the_width_too(illustrator):
    assert illustrator.row(["a tiger", "Iraq", "a city"]).shape == (3, 8, 32)


def test_draw_gives_a_picture_that_repeats(illustrator):
    picture = illustrator.draw("a tiger")
    assert picture.size == (32, 8)
    assert picture.getpixel((4, 4)) == EMOJI[2][4]
    assert picture.tobytes() == illustrator.draw("a tiger").tobytes()


def test_it_draws_for_a_generative_teacher(illustrator, tmp_path):
    from limbeck.banks.bank import Bank
    from limbeck.students import model_from_spec
    from limbeck.teachers import GenerativeTeacher, ModuleTeacher

    torch.manual_seed(0)
    net = model_from_spec("image_encoder", n_classes=3, channels=(4, 8)).eval()
    rows = [{"id": n, "text": text} for n, text in enumerate(("a tiger", "dogs of Iraq", "rain"))]
    teacher = GenerativeTeacher(illustrator.draw, ModuleTeacher(net), pictures=tmp_path / "pictures")
    bank = Bank.build(tmp_path / "bank", teacher, rows)
    with torch.no_grad():
        expected = net(torch.stack([illustrator.row([row["text"]]) for row in rows]))
    # pictures are kept with 256 levels
    assert torch.allclose(bank.lookup([0, 1, 2]).logits, expected, atol=0.01)
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3


def test_splits_of_the_picture_teacher(folder):
    rows = Examples.classified(
        {"text": texts(["a tiger", "rain"]), "text_pair": texts(["Iraq", "rain"])},
        ("train/0", "train/1"),
        torch.tensor([-100, -100]),
        ("yes", "no"),
    )
    splits = picture_splits(rows, folder=folder, size=8)
    assert {role: len(examples) for role, examples in splits.items()} == {
        "train": 4,
        "validation": 1,
        "test": 2,
        "link": 2,
    }
    assert {examples.class_names for examples in splits.values()} == {("Animals", "Flags", "Places")}
    assert splits["train"].labels.tolist() == [0, 1, 2, 2]
    link = splits["link"]
    assert link.keys == rows.keys
    assert link.labels.tolist() == [-100, -100]
    assert link.inputs["x"].shape == (2, 3, 8, 32)
    assert splits["train"].inputs["x"].shape == (4, 3, 8, 32)
    assert link.inputs["x"].min() >= -1
    assert bool((link.inputs["x"][1] == 1).all())  # white


def test_a_labelled_strip_repeats_one_emoji(folder):
    rows = Examples.classified({"text": texts(["a"])}, ("0",), torch.tensor([-100]), ("x",))
    train = picture_splits(rows, folder=folder, size=8)["train"]
    for strip, (*_, colour) in zip(train.inputs["x"], [e for e in EMOJI if e[3] == "train"]):
        slots = strip.reshape(3, 8, 4, 8)[:, 4, :, 4].T
        seen = torch.tensor(colour) / 127.5 - 1
        is_emoji = torch.isclose(slots, seen, atol=1e-5).all(1)
        is_white = (slots == 1).all(1)
        assert bool((is_emoji ^ is_white).all())
        assert bool(is_emoji.any())


def test_coverage_counts(illustrator):
    assert coverage(illustrator, ["dogs of Iraq", "rain"]) == {"texts": 2, "drawn": 1, "mean": 1.0}


def test_a_folder_without_emoji_is_named(tmp_path):
    with pytest.raises(DataError, match=r"emoji\.csv does not exist"):
        emoji_illustrator(tmp_path)


@pytest.mark.real_data
def test_most_rte_sentences_get_an_emoji(real_data):
    from limbeck.data.benchmarks.glue import glue

    train = glue(str(real_data / "glue")).splits["train"]
    illustrator = emoji_illustrator(real_data / "emoji", size=8)
    shares = {c: coverage(illustrator, list(train.inputs[c])) for c in train.text_columns}
    assert shares["text"]["drawn"] / len(train) > 0.9
    assert shares["text_pair"]["drawn"] / len(train) > 0.6
