"""What users get wrong, through the command line: one clear sentence that names it, and the exit code."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from raw_files import fsdd_folder, mnist_folder, write_csv, write_grating, write_idx, write_tone

from limbeck import cli
from limbeck.banks import Bank

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def mnist(tmp_path_factory) -> Path:
    return mnist_folder(tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def fsdd(tmp_path_factory) -> Path:
    return fsdd_folder(tmp_path_factory.mktemp("fsdd"))


@pytest.fixture(scope="module")
def digit_bank(mnist, tmp_path_factory) -> Path:
    """A teacher that knows the keys of the link images, by random numbers."""
    return bank_of(tmp_path_factory.mktemp("bank") / "bank", [f"image/{i}" for i in range(800)], DIGITS)


def bank_of(path: Path, keys: list[str], class_names: tuple[str, ...]) -> Path:
    features, logits = torch.randn(len(keys), 4), torch.randn(len(keys), len(class_names))
    return Bank.from_arrays(path, keys=keys, features=features, logits=logits, class_names=class_names).path


@pytest.fixture
def fails(capsys):
    def check(code: int, words: str, *arguments: str) -> None:
        found = cli.main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert (found, out) == (code, ""), err
        assert err.startswith("limbeck: ")
        assert err.count("\n") == 1, err
        assert words in err

    return check


@pytest.fixture
def demo(fails, mnist, fsdd, tmp_path):
    def check(code: int, words: str, **options: object) -> None:
        options = {"images": f"mnist:{mnist}", "audio": f"fsdd:{fsdd}", "output": tmp_path / "demo"} | options
        given = [x for name, value in options.items() for x in (f"--{name.replace('_', '-')}", value)]
        fails(code, words, "demo", "--quick", *given)

    return check


@pytest.fixture
def distill(fails, mnist, fsdd, digit_bank, tmp_path):
    def check(code: int, words: str, *arguments: str, **changes: object) -> None:
        config = {"images": f"mnist:{mnist}", "audio": f"fsdd:{fsdd}", "labels_per_class": 2, "bag_size": 4}
        config |= changes.pop("config", {})
        recipe = {
            "data": {"name": "av_digits", "config": config},
            "teacher": {"bank": str(digit_bank)},
            "method": {"name": "kd"},
            "training": {"max_steps": 2},
            "output_dir": str(tmp_path / "run"),
        } | changes
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        fails(code, words, "distill", "--config", tmp_path / "recipe.yaml", *arguments)

    return check


# ---- files -------------------------------------------------------------------------------------------------------


def test_a_wrong_or_empty_folder_is_named(demo, tmp_path):
    demo(1, f"{tmp_path / 'no'} is not a folder", images=f"mnist:{tmp_path / 'no'}")
    demo(1, f"{tmp_path / 'no'} is not a folder", audio=f"fsdd:{tmp_path / 'no'}")
    (tmp_path / "empty").mkdir()
    demo(1, f"{tmp_path / 'empty'} holds no train-images", images=f"mnist:{tmp_path / 'empty'}")
    demo(1, f"{tmp_path / 'empty'} holds no files named", audio=f"fsdd:{tmp_path / 'empty'}")
    demo(2, "audio='fsd:x' is not known", audio="fsd:x")


def test_a_wav_of_zero_length_is_named(demo, fsdd, tmp_path):
    copy = shutil.copytree(fsdd, tmp_path / "fsdd")
    write_tone(copy / "recordings" / "3_ann_16.wav", 3, seconds=0)
    demo(1, "3_ann_16.wav is a recording of zero length", audio=f"fsdd:{copy}")
    (copy / "recordings" / "3_ann_16.wav").write_bytes(b"")
    (copy / "recordings" / "new").touch()  # the folder has changed, so that it is read again
    demo(1, "3_ann_16.wav is an empty file (0 bytes)", audio=f"fsdd:{copy}")


def test_half_an_idx_file_and_labels_outside_the_range_are_named(demo, mnist, tmp_path):
    copy = shutil.copytree(mnist, tmp_path / "mnist")
    images = copy / "train-images-idx3-ubyte.gz"
    whole = images.read_bytes()
    images.write_bytes(whole[: len(whole) // 2])
    demo(1, "train-images-idx3-ubyte.gz is a gzip file that is cut short", images=f"mnist:{copy}")
    images.write_bytes(whole)
    write_idx(copy / "train-labels-idx1-ubyte.gz", np.arange(800) % 12)
    demo(1, "has the label 10 in row 10; digits go from 0 to 9", images=f"mnist:{copy}")


def test_an_absent_class_and_too_many_labels_are_told(demo, fsdd, tmp_path):
    demo(1, "17 labelled clips of class '0' were asked for, but the pool has 16", labels=17)
    copy = shutil.copytree(fsdd, tmp_path / "fsdd")
    for path in (copy / "recordings").glob("7_*"):
        path.unlink()
    demo(1, "class '7'", audio=f"fsdd:{copy}")


def test_unseen_speakers_that_nobody_is(demo):
    demo(2, "did you mean 'ann'?", unseen_speakers="anna")
    demo(2, "leave at least one", unseen_speakers="ann,bob")


def test_an_output_that_is_a_file_is_refused_before_anything_is_read(demo, distill, tmp_path):
    (tmp_path / "file").touch()
    demo(1, f"{tmp_path / 'file'} is a file where a folder is needed", output=tmp_path / "file")
    distill(1, f"{tmp_path / 'file'} is a file where a folder is needed", output_dir=str(tmp_path / "file"))


# ---- recipes -----------------------------------------------------------------------------------------------------


def test_misspelt_keys_and_methods_name_the_nearest(distill):
    distill(2, "did you mean training.learning_rate", training={"learning_rte": 1})
    distill(2, "did you mean 'labels_per_class'", config={"label_per_class": 1})
    distill(2, "did you mean 'kd'", method={"name": "kdd"})
    distill(2, "did you mean 'temperature'", method={"name": "kd", "config": {"temprature": 1}})
    distill(2, "no link 'pared'; did you mean 'paired'", config={"link": "pared"})
    distill(2, "no student 'small_conv'", student={"model": "small_conv"})


def test_a_method_whose_link_the_data_does_not_have(distill):
    distill(1, "Method 'bagkd' works with data linked as bagged", method={"name": "bagkd"})
    distill(2, "has no 'shuffled' control", method={"name": "supervised"}, control="shuffled")


def test_other_class_names_and_keys_of_the_bank_are_told(distill, tmp_path):
    words = bank_of(tmp_path / "words", [f"image/{i}" for i in range(800)], tuple("abcdefghij"))
    distill(1, "class_map", teacher={"bank": str(words)})
    few = bank_of(tmp_path / "few", [f"image/{i}" for i in range(10)], DIGITS)
    distill(1, "lacks", teacher={"bank": str(few)})
    distill(1, f"There is no bank at {tmp_path / 'no'}", teacher={"bank": str(tmp_path / "no")})


def test_a_checkpoint_of_another_method_or_run_is_refused(distill, tmp_path, capsys):
    saving = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    recipe = tmp_path / "recipe.yaml"
    distill(2, "no setting 'max_step'", teacher={"training": {"max_step": 1}})
    distill(1, "works with data linked", method={"name": "bagkd"})  # writes the recipe that is changed below
    values = yaml.safe_load(recipe.read_text()) | {"method": {"name": "kd"}, "training": saving}
    recipe.write_text(yaml.safe_dump(values))
    assert cli.main(["distill", "--config", str(recipe)]) == 0
    capsys.readouterr()
    distill(2, "pass --resume", training=saving)
    distill(1, "is of method 'kd'", "--resume", method={"name": "fitnets"}, training=saving)


def test_a_teacher_without_labelled_rows_of_its_own_is_told(fails, tmp_path):
    for kind, write, suffix in (("sounds", write_tone, "wav"), ("photos", write_grating, "png")):
        for i in range(40):
            write(tmp_path / kind / f"{i}.{suffix}", i % 2, seed=i)
        labelled = 40 if kind == "sounds" else 4
        rows = [(i, f"{kind}/{i}.{suffix}", "ab"[i % 2] if i < labelled else "") for i in range(40)]
        write_csv(tmp_path / f"{kind}.csv", ("key", "file", "label"), rows)
    data = {
        "student": str(tmp_path / "sounds.csv"),
        "teacher": str(tmp_path / "photos.csv"),
        "link": "paired",
    }
    recipe = {
        "data": {"name": "folders", "config": data},
        "method": {"name": "kd"},
        "output_dir": str(tmp_path / "r"),
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    fails(1, "teacher.bank", "distill", "--config", tmp_path / "recipe.yaml")
    fails(1, "is no exported student", "predict", tmp_path, "x.wav")
    fails(1, "metrics.json", "report", tmp_path)
