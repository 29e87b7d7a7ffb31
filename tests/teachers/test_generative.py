"""A text is drawn once, the picture kept, and an encoder tells what it shows."""

from __future__ import annotations

import json
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from teachers.chat_server import KEY, Server, error, picture
from torch import nn

from limbeck.banks import Bank
from limbeck.errors import ConfigError, DataError
from limbeck.seeding import keyed_seed
from limbeck.teachers import (
    APITeacher,
    DiffusersDraw,
    FunctionDraw,
    GenerativeTeacher,
    HFTeacher,
    ModuleTeacher,
)
from limbeck.teachers.api.limits import Limits
from limbeck.teachers.callable import CallableTeacher

ROWS = [{"id": i, "text": text} for i, text in enumerate(["red", "blue", "red", "green"])]
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255), "green": (0, 255, 0)}
DRAWN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_drawn():
    DRAWN.clear()


def draw(text):
    DRAWN.append(text)
    return Image.new("RGB", (8, 8), COLOURS[text])


class Mean(nn.Module):
    """The mean colour, ``[m, 3]``."""

    def forward(self, image):
        return image.mean(dim=(2, 3))


def encoder():
    return ModuleTeacher(Mean(), gives="embedding", licence="of the encoder")


def test_text_to_picture_to_features_in_a_bank(tmp_path):
    teacher = GenerativeTeacher(draw, encoder(), pictures=tmp_path / "b.pictures")
    bank = Bank.build(tmp_path / "b", teacher, ROWS)
    assert bank.lookup([0, 1, 3]).features.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert DRAWN == ["red", "blue", "green"]
    assert (bank.licence, bank.access, bank.manifest.notes["pictures"]) == (
        "of the encoder",
        "weights",
        "b.pictures",
    )
    lines = [json.loads(x) for x in (tmp_path / "b.pictures/prompts.jsonl").read_text().splitlines()]
    assert [line["prompt"] for line in lines] == DRAWN
    assert sorted(p.name for p in (tmp_path / "b.pictures").glob("*.png")) == sorted(x["file"] for x in lines)
    again = pickle.loads(pickle.dumps(GenerativeTeacher(draw, encoder(), pictures=tmp_path / "b.pictures")))
    Bank.build(tmp_path / "c", again, ROWS)
    assert len(DRAWN) == 3
    assert teacher.fingerprint().keys() >= {"draw function", "encoder weights"}


def test_each_picture_is_kept_before_the_next_is_drawn(tmp_path):
    is_broken = True

    def fails(text):
        if text == "blue" and is_broken:
            raise KeyboardInterrupt
        return draw(text)

    teacher = GenerativeTeacher(FunctionDraw(fails, "1"), encoder(), pictures=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        teacher({"text": ["red", "blue"]})
    is_broken = False
    teacher({"text": ["red", "blue"]})
    assert DRAWN == ["red", "blue"]


def test_another_drawing_is_another_picture(tmp_path):
    for version in "12":
        drawn = FunctionDraw(draw, version)
        GenerativeTeacher(drawn, encoder(), pictures=tmp_path)({"text": ["red"]})
    GenerativeTeacher(drawn, encoder(), pictures=tmp_path, prompt="{text}")({"text": ["red"]})
    assert DRAWN == ["red"] * 3
    parts = [
        GenerativeTeacher(FunctionDraw(draw, v), encoder(), pictures=tmp_path).fingerprint() for v in "12"
    ]
    assert [k for k in parts[0] if parts[0][k] != parts[1][k]] == ["draw function"]


def test_an_encoder_of_transformers_reads_the_pictures(tmp_path, tiny):
    teacher = GenerativeTeacher(draw, HFTeacher(tiny["vit"]), pictures=tmp_path / "p")
    features = teacher({"text": ["red", "blue"]}).features
    assert features.shape[0] == 2
    assert not torch.allclose(features[0], features[1])
    assert torch.equal(
        teacher({"text": ["blue"]}).features, HFTeacher(tiny["vit"])({"image": [draw("blue")]}).features
    )


def test_sounds(tmp_path):
    def play(text):
        DRAWN.append(text)
        return {"array": np.full(160, len(text) / 10), "sampling_rate": 8000}

    def level(inputs):
        return {"features": [[float(w["array"].mean()), w["sampling_rate"]] for w in inputs["audio"]]}

    teacher = GenerativeTeacher(play, CallableTeacher(level), pictures=tmp_path / "p")
    for _ in range(2):
        found = teacher({"text": ["red", "green"]}).features
        assert found.numpy() == pytest.approx(np.array([[0.3, 8000], [0.5, 8000]]), abs=1e-4)
    assert DRAWN == ["red", "green"]
    assert len(list((tmp_path / "p").glob("*.wav"))) == 2


@pytest.mark.parametrize("form", ["pictures", "pixels"])
def test_of_a_video_the_first_frame_is_kept(tmp_path, form):
    def film(text):
        DRAWN.append(text)
        frames = [Image.new("RGB", (8, 8), COLOURS[text]), Image.new("RGB", (8, 8), (9, 9, 9))]
        return frames if form == "pictures" else np.stack([np.asarray(frame) for frame in frames])

    teacher = GenerativeTeacher(film, encoder(), pictures=tmp_path / "p")
    for _ in range(2):
        assert teacher({"text": ["red", "blue"]}).features.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert DRAWN == ["red", "blue"]
    with pytest.raises(DataError, match="a video without frames"):
        GenerativeTeacher(lambda text: [], encoder(), pictures=tmp_path / "none")({"text": ["red"]})


def test_speech_is_read_by_an_encoder_of_sounds(tmp_path, tiny):
    """A wave of the length of the text, as a speech model gives one, and wav2vec2 that hears it."""

    def speak(text):
        return {"array": np.sin(np.arange(400 * len(text)) / 7), "sampling_rate": 8000}

    teacher = GenerativeTeacher(speak, HFTeacher(tiny["wav2vec2"]), pictures=tmp_path / "p")
    features = teacher({"text": ["red", "green"]}).features
    assert features.shape[0] == 2
    assert bool(torch.isfinite(features).all())
    assert not torch.allclose(features[0], features[1])


@pytest.mark.parametrize("as_url", [False, True])
def test_a_server_draws(tmp_path, monkeypatch, as_url):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def respond(path, body):
        if "response_format" in body and as_url:
            return error(400, "unknown parameter response_format")
        if body["prompt"] == "green":
            return error(400, "no", "content_policy_violation")
        return picture(COLOURS[body["prompt"]], as_url=as_url)

    server = Server(respond)

    def painter():
        return APITeacher(
            "tiny-draw",
            kind="images",
            base_url=server.url,
            licence="drawn pictures may be used",
            store=tmp_path / "a.sqlite",
            limits=Limits(retries=1, backoff=0.01),
        )

    teacher = GenerativeTeacher(painter(), encoder(), pictures=tmp_path / "b.pictures")
    with pytest.warns(UserWarning, match="content_policy_violation"):
        bank = Bank.build(tmp_path / "b", teacher, ROWS)
    assert bank.lookup([0, 1, 2]).features.tolist() == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert bank.manifest.missing == {"refused by the server (content_policy_violation)": [3]}
    assert bank.licence == "drawn pictures may be used"
    changed = {"changed_parameters": {"response_format": "left out"}} if as_url else {}
    assert bank.manifest.notes["drawn"] == {"model": "tiny-draw", "kind": "images", **changed}
    n = len(server.asked)
    server.close()
    again = GenerativeTeacher(painter(), encoder(), pictures=tmp_path / "c.pictures")
    with pytest.warns(UserWarning, match="lacks rows"):
        Bank.build(tmp_path / "c", again, ROWS)  # from the store, into another folder
    assert len(server.asked) == n


class FakePipeline:
    """What a teacher uses of a diffusers pipeline."""

    components = {"unet": nn.Linear(2, 2), "tokenizer": object()}

    @classmethod
    def from_pretrained(cls, source, torch_dtype, trust_remote_code, use_safetensors):
        assert use_safetensors
        assert not trust_remote_code
        if source != "good":
            raise OSError("no model_index.json")
        return cls()

    def to(self, device):
        return self

    def set_progress_bar_config(self, disable):
        assert disable

    def __call__(self, prompt, generator, **options):
        pixels = torch.randint(0, 256, (8, 8, 3), generator=generator, dtype=torch.uint8).numpy()
        return types.SimpleNamespace(images=[Image.fromarray(pixels)])


def test_a_diffusers_pipeline_draws_by_text_and_seed(tmp_path, monkeypatch):
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "diffusers", None)
        with pytest.raises(ConfigError, match=r"limbeck\[diffusers\]"):
            DiffusersDraw("good")
    monkeypatch.setitem(sys.modules, "diffusers", types.SimpleNamespace(DiffusionPipeline=FakePipeline))
    with pytest.raises(DataError, match="No diffusers pipeline"):
        GenerativeTeacher("diffusers:bad", encoder(), pictures=tmp_path)
    together = GenerativeTeacher("diffusers:good", encoder(), pictures=tmp_path / "a")(
        {"text": ["red", "blue"]}
    )
    alone = GenerativeTeacher("diffusers:good", encoder(), pictures=tmp_path / "b")({"text": ["blue"]})
    assert torch.equal(together.features[1:], alone.features)
    assert not torch.equal(together.features[0], together.features[1])
    other = DiffusersDraw("good", seed=1)
    assert other("red").tobytes() != DiffusersDraw("good")("red").tobytes()
    assert other.fingerprint() != DiffusersDraw("good").fingerprint()


def test_a_video_pipeline_of_diffusers(tmp_path, monkeypatch):
    class Film(FakePipeline):
        def __call__(self, **options):
            first = super().__call__(**options).images[0]
            return types.SimpleNamespace(frames=[[first, Image.new("RGB", (8, 8))]])

    monkeypatch.setitem(sys.modules, "diffusers", types.SimpleNamespace(DiffusionPipeline=Film))
    film = GenerativeTeacher("diffusers:good", encoder(), pictures=tmp_path / "a")({"text": ["red"]})
    monkeypatch.setitem(sys.modules, "diffusers", types.SimpleNamespace(DiffusionPipeline=FakePipeline))
    picture = GenerativeTeacher("diffusers:good", encoder(), pictures=tmp_path / "b")({"text": ["red"]})
    assert torch.equal(film.features, picture.features)


def test_latents_of_a_diffusers_pipeline_are_features(tmp_path):
    """The paper's own signal: what the pipeline denoised, before it is decoded into a picture."""
    diffusers = pytest.importorskip("diffusers", reason="the extra diffusers is not installed")
    torch.manual_seed(0)
    channels = (8, 16)
    unet = diffusers.UNet2DModel(
        sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=channels,
        norm_num_groups=4, down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    pipeline = diffusers.DDIMPipeline(unet, diffusers.DDIMScheduler(num_train_timesteps=10))
    pipeline.set_progress_bar_config(disable=True)

    def latents(inputs):
        drawn = []
        for text in inputs["text"]:
            generator = torch.Generator().manual_seed(keyed_seed(text))
            answer = pipeline(generator=generator, num_inference_steps=2, output_type="np")
            drawn.append(torch.from_numpy(answer.images[0]).flatten())
        return {"features": torch.stack(drawn)}

    bank = Bank.build(tmp_path / "b", CallableTeacher(latents, version="tiny"), ROWS)
    found = bank.lookup([0, 1, 2]).features
    assert found.shape == (3, 3 * 8 * 8)
    assert torch.equal(found[0], found[2])
    assert not torch.allclose(found[0], found[1])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda p: GenerativeTeacher("PATH", encoder(), pictures=p), "diffusers:PATH"),
        (lambda p: GenerativeTeacher(3, encoder(), pictures=p), "draw must be"),
        (lambda p: GenerativeTeacher(draw, Mean(), pictures=p), "encoder must be a teacher"),
        (
            lambda p: GenerativeTeacher(APITeacher("m", licence="x", store=p / "s"), encoder(), pictures=p),
            "kind='images'",
        ),
    ],
)
def test_wrong_parts(tmp_path, made, words):
    with pytest.raises(ConfigError, match=words):
        made(tmp_path)


def test_wrong_drawings_and_rows(tmp_path):
    def sized(text):
        return Image.new("RGB", (len(text), 8))

    with pytest.raises(DataError, match="draw gave str"):
        GenerativeTeacher(lambda text: "nothing", encoder(), pictures=tmp_path / "a")({"text": ["red"]})
    with pytest.raises(DataError, match="different sizes"):
        GenerativeTeacher(sized, encoder(), pictures=tmp_path / "b")({"text": ["red", "blue"]})
    with pytest.raises(DataError, match="nothing in the column"):
        GenerativeTeacher(draw, encoder(), pictures=tmp_path / "c")({"text": [" "]})
