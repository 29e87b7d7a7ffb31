"""What a model cannot read is cut and counted, or refused with the keys; what does not exist has a nearest name."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from teachers.tiny_models import MAX_TOKENS, RATE

from limbeck.banks import Bank
from limbeck.errors import (
    ConfigError,
    DataError,
    StaleFingerprintError,
    UnknownNameError,
    UnreadableRowsError,
)
from limbeck.teachers import HFTeacher

LONG = "a red dog runs and a blue cat sleeps on the grass of the big house"
ROWS = [
    {"id": f"k{i}", "text": text} for i, text in enumerate(["a dog", LONG, "the cat sleeps", LONG + " and"])
]


def test_long_texts_are_cut_counted_and_warned_about_once(tiny, tmp_path):
    teacher = HFTeacher(tiny["bert"])
    with pytest.warns(
        UserWarning, match=r"column 'text' holds 2 texts longer than the 12 tokens .*longest 19"
    ) as seen:
        bank = Bank.build(tmp_path / "b", teacher, ROWS, batch_size=2)
    assert len([w for w in seen if "longer than" in str(w.message)]) == 1
    assert bank.manifest.notes == {"truncated": 2, "tower": "text", "layer": -1, "pooling": "auto"}
    words = LONG.split()[: MAX_TOKENS - 2]
    torch.testing.assert_close(
        bank.lookup(["k1"]).features[0],
        teacher({"text": [" ".join(words)]}).features[0],
        rtol=1e-5,
        atol=1e-6,
    )


def test_long_texts_are_refused_with_their_keys(tiny, tmp_path):
    teacher = HFTeacher(tiny["bert"], too_long="refuse", batch_size=1)
    with pytest.raises(UnreadableRowsError, match="longer than the 12 tokens") as caught:
        teacher({"text": [row["text"] for row in ROWS]})
    assert caught.value.rows == (1,)
    with pytest.raises(DataError, match=r"too_long='truncate'\. Keys: 'k1', 'k3'\."):
        Bank.build(tmp_path / "b", HFTeacher(tiny["bert"], too_long="refuse"), ROWS)


def test_a_model_with_offset_positions_reads_two_fewer(tiny):
    with pytest.warns(UserWarning, match="longer than the 12 tokens"):
        out = HFTeacher(tiny["roberta_classifier"])({"text": [LONG]})
    assert out.logits.shape == (1, 3)


def test_clip_reads_as_many_tokens_as_its_text_tower(tiny):
    with pytest.warns(UserWarning, match="longer than the 12 tokens"):
        HFTeacher(tiny["clip"])({"text": [LONG]})


def test_empty_texts_are_refused_with_their_keys_or_kept(tiny, tmp_path):
    rows = [{"id": "a", "text": "a dog"}, {"id": "b", "text": " \n"}, {"id": "c", "text": ""}]
    with pytest.raises(DataError, match=r"holds 2 texts without words.* Keys: 'b', 'c'"):
        Bank.build(tmp_path / "b", HFTeacher(tiny["bert"]), rows)
    bank = Bank.build(tmp_path / "c", HFTeacher(tiny["bert"], empty="keep"), rows)
    assert len(bank) == 3


@pytest.mark.parametrize(
    ("name", "seconds", "rate"), [("whisper", 1, RATE), ("clap", 1, RATE), ("ast", 0.345, 16000)]
)
def test_long_sounds_are_cut_and_counted(tiny, name, seconds, rate):
    wave = np.random.default_rng(0).normal(size=2 * rate).astype(np.float32)
    teacher = HFTeacher(tiny[name], sampling_rate=rate)
    with pytest.warns(
        UserWarning, match=rf"holds 1 sound longer than the {seconds} s that .* \(longest 2 s\)"
    ):
        cut = teacher({"audio": [wave]})
    assert cut.counts == {"truncated": 1}
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*longer than.*")
        torch.testing.assert_close(cut.features, teacher({"audio": [wave[: int(seconds * rate)]]}).features)
    with pytest.raises(DataError, match="pass too_long='truncate'"):
        HFTeacher(tiny[name], sampling_rate=rate, too_long="refuse")({"audio": [wave]})


def test_pairs_of_texts(tiny):
    teacher = HFTeacher(tiny["bert"])
    pair = teacher({"text": ["a dog"], "text_pair": ["the cat"]}).features
    ids = torch.tensor([[2, 5, 11, 3, 6, 12, 3]])
    types = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])
    torch.testing.assert_close(pair, teacher({"input_ids": ids, "token_type_ids": types}).features)


def test_columns_of_other_things(tiny):
    teacher = HFTeacher(tiny["bert"])
    with pytest.raises(DataError, match="column 'text' holds NoneType"):
        teacher({"text": ["a", None]})
    with pytest.raises(DataError, match="column 'x' holds set"):
        teacher({"x": [{1}]})
    with pytest.raises(DataError, match="column 'text' holds ndarray"):
        teacher({"text": ["a", np.zeros(3)]})


def test_an_unknown_model_has_nearest_ones(tiny):
    good = tiny["clip"]
    with pytest.raises(
        DataError, match=rf"no such folder\); did you mean '{good}' or .*\? Otherwise give a folder"
    ):
        HFTeacher(good.parent / "clipp")
    with pytest.raises(DataError, match=r"\(.*\); give a folder with config.json"):
        HFTeacher(good.parent / "something-else-entirely")


def test_hub_ids_in_the_local_cache_are_offered(monkeypatch, tmp_path):
    from huggingface_hub import constants

    (tmp_path / "models--acme--tiny-encoder").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="did you mean 'acme/tiny-encoder'"):
        HFTeacher("acme/tiny-encodr")


def test_settings_that_do_not_exist(tiny):
    with pytest.raises(UnknownNameError, match="no dtype 'float61' for a teacher; did you mean 'float16'"):
        HFTeacher(tiny["bert"], dtype="float61")
    with pytest.raises(ConfigError, match="no device 'gpu'"):
        HFTeacher(tiny["bert"], device="gpu")
    with pytest.raises(ConfigError, match="device= or device_map=, not both"):
        HFTeacher(tiny["bert"], device="cpu", device_map="auto")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no GPU for device='cuda'"):
            HFTeacher(tiny["bert"], device="cuda")


def test_code_of_the_repository_is_not_run_unless_asked(tiny, tmp_path):
    folder = shutil.copytree(tiny["bert"], tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModel": "mine.MineModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    marker = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(marker)!r}, 'w').close()\nraise OSError('it ran')\n")
    with pytest.raises(DataError, match=r"code of its own, which is not run; .* trust_remote_code=True"):
        HFTeacher(folder)
    assert not marker.exists()


def test_weights_that_the_checkpoint_lacks_are_not_made_up(tiny, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny["bert"], tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert HFTeacher(folder)({"text": ["a dog"]}).features.shape == (1, 16)
    with pytest.raises(DataError, match=r"holds no weights for 'pooler.dense'"):
        HFTeacher(folder, pooling="pooler")({"text": ["a dog"]})
    kept = {name: value for name, value in kept.items() if "layer.1.output.dense" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        DataError, match=r"holds no weights for 'encoder.layer.1.output.dense', which this reading"
    ):
        HFTeacher(folder)({"text": ["a dog"]})


@pytest.mark.parametrize(
    ("part", "changed"),
    [
        ("reading", {"tower": "image"}), ("reading", {"layer": 1}), ("reading", {"pooling": "mean"}),
        ("reading", {"hidden_layers": ["text_model.encoder.layers.0"]}), ("weights", {"dtype": "bfloat16"}),
    ],
)  # fmt: skip
def test_a_bank_of_another_reading_says_which_part_differs(tiny, tmp_path, part, changed):
    rows = [{"id": i, "text": text} for i, text in enumerate(["a dog", "the cat"])]
    Bank.build(tmp_path / "b", HFTeacher(tiny["clip"], tower="text"), rows)
    other = HFTeacher(tiny["clip"], **{"tower": "text", **changed})
    with pytest.raises(StaleFingerprintError, match=f"built with other '{part}'; build into"):
        Bank.build(tmp_path / "b", other, rows)
    with pytest.raises(StaleFingerprintError, match=f"built with other '{part}'"):
        Bank.open(tmp_path / "b", fingerprint=other.fingerprint())


@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json", "tokenizer_config.json"])
def test_a_bank_of_another_preprocessing_says_so(tiny, tmp_path, file):
    folder = shutil.copytree(tiny["clip"], tmp_path / "m")
    rows = [{"id": i, "text": text} for i, text in enumerate(["a Dog", "the cat"])]
    Bank.build(tmp_path / "b", HFTeacher(folder), rows)
    Bank.build(tmp_path / "b", HFTeacher(folder), rows)  # asks nothing: it is what it was, also after use
    settings = json.loads((folder / file).read_text())
    if file == "tokenizer.json":
        settings["normalizer"] = None  # it no longer lowers capitals
    elif file == "preprocessor_config.json":
        settings["image_mean"] = [0.5, 0.5, 0.5]
    else:
        settings["truncation_side"] = "left"
    (folder / file).write_text(json.dumps(settings))
    with pytest.raises(StaleFingerprintError, match="other 'preprocessing'; build into"):
        Bank.build(tmp_path / "b", HFTeacher(folder), rows)


def test_texts_that_are_all_numbers_are_texts(tiny):
    teacher = HFTeacher(tiny["bert"])
    rows = teacher({"text": torch.tensor([7, 1234])}).features  # as rows of numbers come from JSON or Parquet
    torch.testing.assert_close(rows, teacher({"text": ["7", "1234"]}).features)
