"""Spoken digits without recordings: synthesised once by espeak-ng, made to sound recorded, kept as WAV files.

Good enough to try everything offline; figures that are quoted come from real recordings. espeak-ng is an
optional extra under its own licence, and its clips stay on the user's machine.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.files.audio import resampled
from limbeck.errors import ConfigError, DataError
from limbeck.files import cache_folder
from limbeck.progress import progress
from limbeck.seeding import keyed_seed

RATE = 8000  # as the Free Spoken Digit Dataset
TAKES = 5
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# A voice is accent+variant. No accent and no variant of the test voices trains, so that the test asks for a
# student that hears the digit and not the voice.
_ACCENTS = {
    "pool": ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-us-nyc"),
    "validation": ("en-gb-x-gbclan", "en"),
    "test": ("en-029", "en-gb-x-gbcwmd"),
}
_VARIANTS = {
    "pool": "m1 m3 m4 m7 f1 f3 f4 klatt klatt2 klatt4 Alex Andy Denis Hugo Jacky Lee Michael Mike Reed adam "
    "anika aunty benjamin boris caleb david linda steph",
    "validation": "m2 f5 Gene victor",
    "test": "m5 m8 f2 klatt3 Annie belinda edward quincy",
}
_SETTINGS: dict[str, Any] = {
    "version": 1,
    "seed": 20,
    "rates": (125, 205),
    "pitches": (25, 75),
    "snr": (-3, 12),
    "echo": 1.0,
    "tilt": 0.8,
}


def voices() -> dict[str, str]:
    """Every speaker's role: ``pool``, ``validation`` or ``test``."""
    return {
        f"{accent}+{variant}": role
        for role, variants in _VARIANTS.items()
        for variant, accent in zip(variants.split(), itertools.cycle(_ACCENTS[role]))
    }


def spoken_digits() -> tuple[Path, dict[str, str]]:
    """The folder of ``DIGIT_SPEAKER_TAKE.wav`` files (8 kHz, mono, 16 bit) and every speaker's role.

    The first call synthesises all clips (some seconds); later ones compare the files with the hash that was
    written with them, and synthesise anew when a file was changed or lost. Two processes may call at once.

    Raises: ConfigError without espeakng-loader; DataError when espeak-ng fails or the cache cannot be
    written.
    """
    import filelock

    roles = voices()
    plan = _utterances(roles)
    stamp = hashlib.sha256(json.dumps([plan, _SETTINGS]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"speech-{stamp}"
    if _is_whole(folder):
        return folder, roles
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(folder.with_suffix(".lock")):
            if not _is_whole(folder):  # else another process was faster
                _synthesise(plan, folder)
    except OSError as error:
        raise DataError(
            f"The synthesised clips cannot be kept in {folder.parent} ({error.strerror or error}); "
            "set LIMBECK_CACHE to a folder that can be written."
        ) from error
    return folder, roles


def _utterances(roles: dict[str, str]) -> list[dict[str, Any]]:
    """What is said, by whom and how; the takes of one speaker differ in pace and pitch."""
    plan = []
    for speaker in roles:
        rng = np.random.default_rng(keyed_seed("speech", _SETTINGS["seed"], speaker))
        for take in range(TAKES):
            for digit, word in enumerate(WORDS):
                rate, pitch = (int(rng.integers(*_SETTINGS[name])) for name in ("rates", "pitches"))
                name = f"{digit}_{speaker}_{take}"
                plan.append({"name": name, "text": word, "voice": speaker, "rate": rate, "pitch": pitch})
    return plan


def _synthesise(plan: list[dict[str, Any]], folder: Path) -> None:
    """Write all clips beside ``folder`` and move them there in one step, so that it is whole or absent."""
    import soundfile

    unfinished, output = folder.with_suffix(".unfinished"), folder.with_suffix(".npz")
    shutil.rmtree(unfinished, ignore_errors=True)  # of a run that was killed
    unfinished.mkdir()
    rate, waves = _spoken(plan, output)
    with progress("Synthesising speech, once", len(waves), "clips") as advance:
        for name, wave in waves.items():
            recorded = _as_recorded(name, wave, rate)
            soundfile.write(unfinished / f"{name}.wav", recorded, RATE, subtype="PCM_16")
            advance(1)
    output.unlink()
    (unfinished / "sha256").write_text(_digest(unfinished))
    shutil.rmtree(folder, ignore_errors=True)  # a folder whose hash was wrong
    unfinished.rename(folder)


def _spoken(plan: list[dict[str, Any]], output: Path) -> tuple[int, dict[str, np.ndarray]]:
    """The sample rate and every utterance as int16, by one run of :mod:`limbeck.data.benchmarks.espeak_process`."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise ConfigError(
            "The embedded speech needs espeakng-loader; install it with: pip install 'limbeck[demo]'."
        ) from error
    order = {
        "library": espeakng_loader.get_library_path(),
        "data": espeakng_loader.get_data_path(),
        "seed": _SETTINGS["seed"],
        "output": str(output),
        "utterances": plan,
    }
    program = Path(__file__).with_name("espeak_process.py")
    done = subprocess.run(
        [sys.executable, str(program)], input=json.dumps(order), text=True, capture_output=True
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise DataError(
            f"Speech synthesis failed: {reason}; reinstall espeakng-loader or pass audio='fsdd:DIR'."
        )
    with np.load(output) as waves:
        return int(waves["rate"]), {utterance["name"]: waves[utterance["name"]] for utterance in plan}


def _as_recorded(name: str, wave: np.ndarray, rate: int) -> np.ndarray:
    """The clip at 8 kHz, without silence at its ends, at some loudness, over some room noise."""
    from scipy.signal import fftconvolve

    rng = np.random.default_rng(keyed_seed("recording", _SETTINGS["seed"], name))
    clip = resampled(wave.astype(np.float64) / 32768, rate, RATE)
    loud = np.flatnonzero(np.abs(clip) > 0.02 * np.abs(clip).max())
    clip = clip[max(loud[0] - RATE // 100, 0) : loud[-1] + RATE // 100]
    tilt = rng.uniform(-1, 1) * _SETTINGS["tilt"]
    clip = np.append(clip[:1], clip[1:] + tilt * clip[:-1])  # a dull or a sharp microphone
    room = rng.standard_normal(RATE // 10) * np.exp(-np.linspace(0, 5, RATE // 10))
    room *= rng.uniform(0, 1) * _SETTINGS["echo"] / np.linalg.norm(room)
    room[0] = 1.0
    clip = fftconvolve(clip, room)[: len(clip) + RATE // 20]
    noise = rng.standard_normal(len(clip) + 1)
    noise = noise[1:] + rng.uniform(0.0, 0.95) * noise[:-1]  # from white to the dull noise of a room
    snr = 10 ** (rng.uniform(*_SETTINGS["snr"]) / 20)
    clip = clip + noise * (clip.std() / noise.std() / snr)
    return clip * (rng.uniform(0.2, 0.9) / np.abs(clip).max())


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.wav")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _is_whole(folder: Path) -> bool:
    written = folder / "sha256"
    return written.is_file() and written.read_text() == _digest(folder)
