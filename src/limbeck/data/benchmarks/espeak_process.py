"""Synthesise a list of utterances with espeak-ng: a program of its own, run by ``speech.py``, never imported.

espeak-ng keeps global state and random numbers for its breath and noise; only a fresh process with a fixed
seed and a fixed order of calls gives equal samples every time. Reads a plan as JSON from standard input and
writes every utterance to one ``.npz`` file, which appears only when all is done.

Plan: ``library``, ``data`` (paths), ``seed``, ``output`` (path), ``utterances`` (objects with ``name``,
``text``, ``voice``, ``rate`` in words a minute, ``pitch`` 0 to 99).
"""

import ctypes
import json
import sys

import numpy as np

SYNCHRONOUS, UTF8, CHARACTERS, RATE, PITCH = 2, 1, 1, 1, 3
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def main() -> None:
    plan = json.load(sys.stdin)
    library = ctypes.CDLL(plan["library"])
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, plan["data"].encode(), 0)
    if rate <= 0:
        sys.exit(f"espeak-ng did not start with the data in {plan['data']}")
    library.espeak_ng_SetRandSeed(ctypes.c_long(plan["seed"]))
    pieces: list[np.ndarray] = []

    def keep(samples, n_samples, events):  # samples is a null pointer at the end of an utterance
        if samples and n_samples > 0:
            pieces.append(np.ctypeslib.as_array(samples, shape=(n_samples,)).copy())
        return 0

    callback = CALLBACK(keep)  # this reference must outlive the synthesis
    library.espeak_SetSynthCallback(callback)
    waves = {}
    for utterance in plan["utterances"]:
        pieces.clear()
        say(library, utterance)
        if not pieces:
            sys.exit(f"espeak-ng gave no sound for {utterance['text']!r} in the voice {utterance['voice']!r}")
        waves[utterance["name"]] = np.concatenate(pieces)
    library.espeak_Terminate()
    np.savez(plan["output"], **waves, rate=np.array(rate))  # type: ignore[arg-type]  # numpy's stub


def say(library: ctypes.CDLL, utterance: dict) -> None:
    if library.espeak_SetVoiceByName(utterance["voice"].encode()) != 0:
        sys.exit(f"espeak-ng has no voice {utterance['voice']!r}")
    library.espeak_SetParameter(RATE, utterance["rate"], 0)
    library.espeak_SetParameter(PITCH, utterance["pitch"], 0)
    text = utterance["text"].encode()
    size = ctypes.c_size_t(len(text) + 1)
    if library.espeak_Synth(text, size, 0, CHARACTERS, 0, UTF8, None, None) != 0:
        sys.exit(f"espeak-ng could not say {utterance['text']!r}")
    library.espeak_Synchronize()


if __name__ == "__main__":
    main()
