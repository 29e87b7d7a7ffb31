"""One way from a picture to pixels: every mode, orientation and form gives what people see."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from limbeck.data.files.images import read_image
from limbeck.data.files.media import to_picture
from limbeck.data.files.pictures import as_seen, is_plain, open_picture, picture_of_array
from limbeck.errors import DataError

Image = pytest.importorskip("PIL.Image")
RAMP = np.linspace(0, 255, 64).reshape(8, 8)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP.T], axis=-1).round().astype(np.uint8)


def pixels(image) -> np.ndarray:
    return np.asarray(image.convert("RGB")).astype(float)


def close(image, wanted: np.ndarray, within: float = 1.0) -> None:
    """Equal to grey or RGB pixels of 0 to 255 up to rounding."""
    wanted = wanted[..., None] if wanted.ndim == 2 else wanted
    assert np.abs(pixels(image) - wanted).max() <= within


# ---- ranges --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_sixteen_bit(kind, tmp_path):
    deep = np.round(RAMP * 257).astype(kind)
    close(as_seen(Image.fromarray(deep)), RAMP)
    for suffix in ("png", "tif"):
        Image.fromarray(deep.astype("<u2")).save(tmp_path / f"g.{suffix}")
        close(to_picture(tmp_path / f"g.{suffix}"), RAMP)
    dark = as_seen(Image.fromarray(np.full((2, 2), 257, np.uint16)))  # the range is that of the mode
    assert pixels(dark).max() == 1


@pytest.mark.parametrize("top", [255, 65535, 2**31 - 1])
def test_thirty_two_bit_has_the_range_that_holds_it(top):
    close(as_seen(Image.fromarray(np.round(RAMP / 255 * top).astype(np.int32))), RAMP)


@pytest.mark.parametrize("top", [1, 255, 65535])
def test_floats_have_the_range_that_holds_them(top, tmp_path):
    image = Image.fromarray((RAMP / 255 * top).astype(np.float32))
    close(as_seen(image), RAMP)
    image.save(tmp_path / "f.tif")
    close(to_picture(str(tmp_path / "f.tif")), RAMP)


def test_a_format_that_says_its_range_is_believed(tmp_path):
    dark = np.full((2, 2), 257, ">u2")
    (tmp_path / "d.pgm").write_bytes(b"P5 2 2 65535\n" + dark.tobytes())
    assert pixels(to_picture(tmp_path / "d.pgm")).max() == 1


@pytest.mark.parametrize(
    "values",
    [
        np.array([[-1000, 3000]], np.int32),  # a scan in Hounsfield units
        np.array([[0, 100_000]], np.int32),  # black, were its range that of 32 bit
        np.array([[0.5, np.nan]], np.float32),
        np.array([[0.0, np.inf]], np.float32),
        np.array([[-0.5, 0.5]], np.float32),
        np.array([[0.0, 1e6]], np.float32),
    ],
)
def test_values_without_a_range_are_refused(values):
    with pytest.raises(DataError, match=r"scan of mode [IF] has values from .* scale them"):
        as_seen(Image.fromarray(values), "scan")


# ---- modes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "P", "PA", "LAB"])
def test_colour_models(mode):
    source = Image.fromarray(COLOURS)
    image = source.convert("RGBA").convert("RGBa") if mode == "RGBa" else source
    if mode == "PA":
        image = source.quantize(64).convert("PA")
    elif mode == "P":
        image = source.quantize(64)
    else:
        image = image.convert(mode)
    assert image.mode == mode
    seen = as_seen(image)
    assert seen.mode == "RGB"
    close(seen, COLOURS, within={"P": 40, "PA": 40, "LAB": 20, "HSV": 6, "YCbCr": 3}.get(mode, 1))


def test_grey_stays_grey():
    grey = Image.fromarray(RAMP.astype(np.uint8))
    for mode in ("L", "LA", "La", "1"):
        image = grey.convert("LA").convert("La") if mode == "La" else grey.convert(mode)
        assert image.mode == mode
        assert as_seen(image).mode == "L"
    assert set(np.unique(np.asarray(as_seen(grey.convert("1"))))) == {0, 255}


def test_what_is_clear_is_white_in_every_way_of_saying_it(tmp_path):
    red = np.zeros((2, 2, 4), np.uint8)
    red[..., 0], red[0, :, 3], red[1, 0, 3] = 255, 255, 128
    whole = Image.fromarray(red)
    wanted = np.array([[[255, 0, 0], [255, 0, 0]], [[255, 127, 127], [255, 255, 255]]])
    close(as_seen(whole), wanted)
    close(as_seen(whole.convert("RGBa")), wanted)
    close(picture_of_array(red), wanted)
    close(picture_of_array(torch.from_numpy(red).permute(2, 0, 1)), wanted)
    whole.save(tmp_path / "a.png")
    whole.save(tmp_path / "a.webp", lossless=True)
    close(to_picture(tmp_path / "a.png"), wanted)
    close(to_picture(tmp_path / "a.webp"), wanted)
    grey = Image.fromarray(np.array([[[0, 0], [0, 255]]], np.uint8), "LA")
    close(as_seen(grey), np.array([[255, 0]]))
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "p.png", transparency=1)
    close(to_picture(tmp_path / "p.png"), np.array([[[255, 0, 0], [255, 255, 255]]]))
    keyed = Image.fromarray(np.array([[[0, 255, 0], [9, 9, 9]]], np.uint8))
    keyed.save(tmp_path / "k.png", transparency=(0, 255, 0))
    close(to_picture(tmp_path / "k.png"), np.array([[[255, 255, 255], [9, 9, 9]]]))


# ---- how it lies ---------------------------------------------------------------------------------------------

CORNER = np.zeros((4, 6), np.uint8)
CORNER[0, :3] = 255  # along the top, from the left
LIES = {
    1: CORNER,
    2: CORNER[:, ::-1],
    3: CORNER[::-1, ::-1],
    4: CORNER[::-1],
    5: CORNER.T,
    6: np.rot90(CORNER),
    7: CORNER[::-1, ::-1].T,
    8: np.rot90(CORNER, -1),
}


@pytest.mark.parametrize("orientation", LIES)
def test_exif_turns_a_picture_upright(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(LIES[orientation]))
    for suffix in ("png", "tif", "webp"):
        more = {"lossless": True} if suffix == "webp" else {}
        stored.save(tmp_path / f"e.{suffix}", exif=exif, **more)
        close(to_picture(tmp_path / f"e.{suffix}"), CORNER)
    opened = Image.open(tmp_path / "e.png")
    close(as_seen(opened), CORNER)  # as a PIL image too
    assert is_plain(opened) == (orientation == 1)
    seen = read_image(tmp_path / "e.png", (4, 6), 1)[0].numpy() * 255
    assert np.abs(seen - CORNER).max() <= 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("block", [b"Exif\0\0garbage", b"", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_a_broken_exif_block_does_not_matter(block, tmp_path):
    Image.fromarray(CORNER).save(tmp_path / "e.jpg", exif=block, quality=100)
    close(to_picture(tmp_path / "e.jpg"), CORNER, within=30)


def test_an_orientation_that_does_not_exist_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 9
    Image.fromarray(CORNER).save(tmp_path / "e.png", exif=exif)
    close(to_picture(tmp_path / "e.png"), CORNER)


def test_the_first_frame(tmp_path):
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (200, 10, 90)]
    for suffix in ("gif", "tif", "webp", "png"):
        more = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(tmp_path / f"m.{suffix}", save_all=True, append_images=frames[1:], **more)
        close(to_picture(tmp_path / f"m.{suffix}"), np.full((4, 4), 200))
        assert not is_plain(Image.open(tmp_path / f"m.{suffix}"))


# ---- arrays --------------------------------------------------------------------------------------------------


def test_arrays_and_tensors():
    chw = COLOURS.transpose(2, 0, 1)
    forms = [
        COLOURS,
        chw,
        torch.from_numpy(COLOURS),
        torch.from_numpy(chw.copy()),
        COLOURS / 255,
        COLOURS.astype("<f4") / 255,
        COLOURS.astype(">u2") * 257,
        COLOURS[::-1][::-1],
        np.dstack([COLOURS, np.full((8, 8), 255, np.uint8)]),
    ]
    for form in forms:
        close(picture_of_array(form), COLOURS)
    close(picture_of_array(torch.from_numpy(COLOURS / 255).bfloat16()), COLOURS, within=2)
    close(picture_of_array(RAMP > 100), np.where(RAMP > 100, 255, 0))
    close(picture_of_array(RAMP.astype(np.uint8)[None]), RAMP.astype(np.uint8))
    close(picture_of_array(RAMP.astype(np.uint8)[..., None]), RAMP.astype(np.uint8))


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 5, 5), np.uint8), r"shape \[2, 5, 5\] is no picture"),
        (np.zeros((0, 3), np.uint8), "is no picture"),
        (np.zeros((1, 3, 4, 4), np.uint8), "is no picture"),
        (np.zeros((4, 4), np.int64), "no known range"),
        (np.full((4, 4), 1.5), "go from 1.5 to 1.5"),
        (np.full((4, 4), np.nan), "go from nan"),
    ],
)
def test_arrays_that_are_no_pictures(array, words):
    with pytest.raises(DataError, match=words):
        picture_of_array(array)


# ---- broken files --------------------------------------------------------------------------------------------


def broken(folder) -> dict[str, bytes]:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
        file, format="JPEG"
    )
    good = file.getvalue()
    return {
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "html": b"<!DOCTYPE html><html>Not found</html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0",
        "json": b'{"error": "not found"}',
        "noise": bytes(range(256)),
        "svg": b"<svg xmlns='x'></svg>",
    }


WORDS = {
    "truncated": "truncated",
    "empty": "empty file",
    "html": "a web page",
    "pointer": "git lfs pull",
    "heic": "HEIC",
    "json": "JSON",
    "noise": "format is not known",
    "svg": "SVG",
}


@pytest.mark.parametrize("case", WORDS)
def test_a_broken_file_is_a_sentence_that_names_it(case, tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(broken(tmp_path)[case])
    for read in (
        lambda: read_image(path, (8, 8), 3),
        lambda: to_picture(path),
        lambda: to_picture(str(path)),
    ):
        with pytest.raises(DataError, match=WORDS[case]) as caught:
            read()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        open_picture(tmp_path / "none.png", "none.png")
    with pytest.raises(DataError, match="is a folder"):
        open_picture(tmp_path, "here")
    with pytest.raises(DataError, match=r"no file 'none.png'; paths count"):
        to_picture("none.png")
    with pytest.raises(DataError, match="is a link, and links are not fetched"):
        to_picture("https://pics.example/cat.jpg")
    with pytest.raises(DataError, match="x holds nothing"):
        to_picture(None, "x")
    with pytest.raises(DataError, match="x holds set, which is no picture"):
        to_picture({1}, "x")
    with pytest.raises(DataError, match="has no pixels"):
        as_seen(Image.new("RGB", (0, 3)))


def test_a_picture_that_was_opened_and_not_read_is_named(tmp_path):
    (tmp_path / "t.png").write_bytes(broken(tmp_path)["truncated"])
    with pytest.raises(DataError, match="x cannot be read as a picture"):
        as_seen(Image.open(tmp_path / "t.png"), "x")
