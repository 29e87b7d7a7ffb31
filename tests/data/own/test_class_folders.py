"""Folders of classes: hidden files, links, splits, and names in two Unicode forms."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from limbeck.data.own.folders import folder
from limbeck.data.own.sides.class_folders import class_files, key_of_path
from limbeck.data.own.two_folders import two_folders
from limbeck.errors import DataError

Image = pytest.importorskip("PIL.Image")


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8), value % 255, np.uint8)).save(path, format="PNG")
    return path


def classes(root: Path, *names: str, n: int = 2) -> Path:
    for name in names or ("cat", "dog"):
        for i in range(n):
            picture(root / name / f"{i}.png", 10 * i)
    return root


def keys(root: Path) -> list[str]:
    return [found.key for found in class_files(root)]


def test_hidden_files_are_left_out_at_any_depth(tmp_path):
    root = classes(tmp_path / ".data" / "f")  # what lies above does not count
    for name in (
        ".DS_Store",
        "cat/.DS_Store",
        "cat/._0.png",
        "cat/Thumbs.db",
        "cat/deep/desktop.ini",
        "cat/.ipynb_checkpoints/0.png",
        "cat/deep/.git/x.png",
        "__MACOSX/cat/._0.png",
        "dog/__MACOSX/0.png",
        ".hidden/0.png",
        "dog/@eaDir/0.png",
    ):
        picture(root / name)
    picture(root / "cat" / "deep" / "9.png")
    assert keys(root) == ["cat/0", "cat/1", "cat/deep/9", "dog/0", "dog/1"]
    (root / "._list.csv").write_text("x")
    assert len(folder(root, "image").examples) == 5


def test_links_are_followed_but_not_in_circles(tmp_path):
    root = classes(tmp_path / "f")
    classes(tmp_path / "else", "more")
    (root / "cat" / "more").symlink_to(tmp_path / "else" / "more")
    (root / "cow").symlink_to(tmp_path / "else" / "more")
    (root / "dog" / "up").symlink_to(root)
    (root / "dog" / "self").symlink_to(root / "dog")
    (root / "cat" / "one.png").symlink_to(tmp_path / "else" / "more" / "0.png")
    found = keys(root)
    assert {"cat/more/0", "cat/more/1", "cow/0", "cow/1", "cat/one"} <= set(found)
    assert "dog/self/0" not in found
    assert len(found) == len(set(found)) < 40


def test_a_link_that_leads_nowhere_is_a_row_that_cannot_be_read(tmp_path):
    root = classes(tmp_path / "f")
    (root / "cat" / "lost.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match=r"lost\.png does not exist"):
        folder(root, "image")
    assert list(folder(root, "image", on_error="skip").report["skipped"]) == ["cat/lost.png"]


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Train", "validation", "test"), ("training", "dev", "testing")]
)
def test_splits_are_recognised_and_kept(tmp_path, names):
    for name, n in zip(names, (6, 2, 3)):
        classes(tmp_path / "f" / name, n=n)
    data = folder(tmp_path / "f", "image")
    assert data.examples.class_names == ("cat", "dog")
    assert data.roles[f"{names[0]}/cat/0"] == "train"
    task = two_folders(student=data, teacher=data, link="by_class")
    assert task.splits.sizes == {"train": 12, "validation": 4, "test": 6}
    with task.splits.final_evaluation() as final:
        assert all(key.startswith(names[2]) for key in final["test"].keys)
    assert all(key.startswith(names[0]) for key in task.teacher.splits["link"].keys)


def test_a_split_that_is_not_there_is_cut_from_training(tmp_path):
    classes(tmp_path / "f" / "train", n=10)
    classes(tmp_path / "f" / "test", n=3)
    data = folder(tmp_path / "f", "image")
    task = two_folders(student=data, teacher=data, link="by_class", validation_share=0.2)
    assert task.splits.sizes == {"train": 16, "validation": 4, "test": 6}


def test_files_without_labels_beside_the_splits(tmp_path):
    root = classes(tmp_path / "f" / "train").parent
    classes(root / "val")
    picture(root / "unlabelled" / "x.png")
    picture(root / "train" / "unlabelled" / "y.png")
    found = {file.key: (file.label, file.role) for file in class_files(root)}
    assert found["unlabelled/x"] == (None, None)
    assert found["train/unlabelled/y"] == (None, "train")
    assert found["val/cat/0"] == ("cat", "validation")


def test_splits_that_do_not_fit_are_a_sentence(tmp_path):
    root = classes(tmp_path / "a" / "train").parent
    picture(root / "test" / "1.png")
    with pytest.raises(DataError, match="but test has no class sub-folders"):
        class_files(root)
    root = classes(tmp_path / "b" / "train").parent
    classes(root / "test")
    classes(root, "other")
    with pytest.raises(DataError, match="splits, beside 'other'"):
        class_files(root)
    root = classes(tmp_path / "c" / "train").parent
    classes(root / "val")
    classes(root / "valid")
    with pytest.raises(DataError, match="two folders for one split"):
        class_files(root)


def test_classes_may_be_called_like_a_split(tmp_path):
    assert {file.label for file in class_files(classes(tmp_path, "train", "bus", "plane"))} == {
        "train",
        "bus",
        "plane",
    }


def test_one_class_in_two_unicode_forms(tmp_path):
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for name, i in ((composed, 0), (apart, 1), ("tea", 0), ("tea", 1)):
        picture(tmp_path / "f" / name / f"{i}.png")
    data = folder(tmp_path / "f", "image")
    assert data.examples.class_names == (composed, "tea")
    assert set(data.examples.keys) == {f"{composed}/0", f"{composed}/1", "tea/0", "tea/1"}
    assert folder(tmp_path / "f", "image", class_names=["tea", apart]).examples.class_names == (
        "tea",
        composed,
    )
    picture(tmp_path / "f" / apart / "0.png")
    with pytest.raises(DataError, match="keys that occur more than once"):
        folder(tmp_path / "f", "image")


def test_a_table_names_a_file_in_another_unicode_form(tmp_path):
    composed, apart = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    picture(tmp_path / apart)
    picture(tmp_path / "b.PNG")
    (tmp_path / "list.csv").write_text(f"file,label\n{composed},x\n b.PNG ,y\n")
    assert folder(tmp_path, "image").examples.keys == ("é", "b")


def test_keys_of_paths():
    assert key_of_path("cat/001.JPG") == "cat/001"
    assert key_of_path("./cat/a.b.png") == "cat/a.b"
    assert [key_of_path(f"IMG.{i:04}") for i in (1, 2)] == ["IMG.0001", "IMG.0002"]
    assert key_of_path("/") == "/"


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    root = classes(tmp_path / "f")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("limbeck.data.own.sides.class_folders.os.scandir", refuse)
    with pytest.raises(DataError, match=r"cat cannot be read \(permission denied\)"):
        class_files(root)
