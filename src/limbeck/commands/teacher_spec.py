"""The teacher that ``limbeck bank build`` is told: which options fit it, and how it is made."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from limbeck.commands.parser import Parser, WrongUse, find_own_modules, positive
from limbeck.errors import ConfigError
from limbeck.signals.own_code import callable_named

TEACHER_KINDS = ("hf", "api", "callable")
API_KINDS = ("embeddings", "chat", "text", "answers", "images")
_LOCAL = "hf answers"  # --teacher hf:PATH --kind answers
_LIMITS = (
    "concurrency",
    "requests_per_minute",
    "tokens_per_minute",
    "timeout",
    "retries",
    "max_requests",
    "max_cost",
)
_PRICES = {"price_in": "input", "price_out": "output", "price_request": "request"}
_SERVER = ("base_url", "api_key_env", "store", "probe")
_MODEL = ("tower", "layer", "pooling", "too_long", "device", "device_map", "model_dtype", "compile")
# Option to the teachers it fits: a kind, or for an api teacher what it is asked for; all without an entry.
FITS: dict[str, tuple[str, ...]] = {
    "kind": ("api", _LOCAL),
    "chat": (_LOCAL,),
    "table": ("answers",),
    **dict.fromkeys((*_SERVER, *_LIMITS, *_PRICES), ("api",)),
    "dimensions": ("embeddings",),
    "top_k": ("hf", _LOCAL),
    "prompt": ("chat", "text", "images"),
    **dict.fromkeys(("system", "temperature", "max_tokens"), ("chat", "text", "answers")),
    **dict.fromkeys(("samples", "probabilities"), ("chat",)),
    **dict.fromkeys(("encoder", "size"), ("images",)),
    **dict.fromkeys(_MODEL, ("hf", "images")),
    "device": ("hf", "images", _LOCAL),
    **dict.fromkeys(("engine", "workers"), ("hf", "callable")),
}


def add_teacher_options(parser: Parser) -> None:
    """The options of a teacher, in groups; those that were not given are ``None``."""
    local = parser.add_argument_group("a model of your own (hf:, and the --encoder of pictures)")
    local.add_argument("--tower", metavar="NAME", help="text, image, audio or fused, of a model with several")
    local.add_argument("--layer", metavar="N", help="hidden layer of the features (default: -1, the last)")
    local.add_argument(
        "--pooling", metavar="NAME", help="auto, mean, cls, last, max, pooler, or none: every state"
    )
    local.add_argument(
        "--top-k", type=positive, metavar="K", help="the likeliest classes (of --kind answers: tokens) alone"
    )
    local.add_argument(
        "--chat", action="store_true", default=None, help="of --kind answers: in the model's chat template"
    )
    local.add_argument("--too-long", choices=("truncate", "refuse"), help="texts beyond what the model takes")
    local.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ...")
    local.add_argument(
        "--device-map",
        metavar="NAME",
        help="auto, balanced, ...: accelerate spreads it over devices and disk",
    )
    local.add_argument(
        "--model-dtype",
        choices=("float32", "bfloat16", "float16"),
        help="of its weights (default: float32); what that changes is noted",
    )
    local.add_argument(
        "--compile", action="store_true", default=None, help="run it through torch.compile; noted likewise"
    )
    local.add_argument("--engine", choices=("plain", "ray"), help="ray: worker processes (extra ray)")
    local.add_argument("--workers", type=positive, metavar="N", help="of --engine ray")

    asked = parser.add_argument_group("a model behind a server (api:)")
    asked.add_argument(
        "--kind",
        choices=API_KINDS,
        help="what it is asked for (default: embeddings); answers to the\ncolumn prompt also of a language model hf:",
    )
    asked.add_argument("--base-url", metavar="URL", help="the server, often ending in /v1 (default: OpenAI)")
    asked.add_argument(
        "--api-key-env", metavar="NAME", help="variable that holds the key (default: OPENAI_API_KEY)"
    )
    asked.add_argument("--prompt", metavar="TEXT", help="the question, {column} for a value of the row")
    asked.add_argument("--system", metavar="TEXT", help="system message")
    asked.add_argument(
        "--samples", type=positive, metavar="K", help="chat: answers a row, where no log-probabilities"
    )
    asked.add_argument(
        "--probabilities",
        choices=("auto", "logprobs", "samples", "verbalised"),
        help="chat: how the class probabilities come about (default: auto)",
    )
    asked.add_argument("--temperature", type=float, metavar="X")
    asked.add_argument("--max-tokens", type=positive, metavar="N", help="of an answer")
    asked.add_argument("--dimensions", type=positive, metavar="N", help="embeddings: width to ask for")
    asked.add_argument("--size", metavar="WxH", help="images: size to ask for")
    asked.add_argument("--encoder", metavar="hf:PATH", help="images: reads the pictures")
    asked.add_argument("--store", metavar="FILE", help="where answers are kept (default: the user's cache)")
    asked.add_argument("--probe", type=int, metavar="N", help="send one row N times first (default: 3)")

    bounds = parser.add_argument_group("bounds on asking (api:)")
    bounds.add_argument("--concurrency", type=positive, metavar="N", help="requests in flight (default: 16)")
    bounds.add_argument("--requests-per-minute", type=float, metavar="N")
    bounds.add_argument("--tokens-per-minute", type=float, metavar="N")
    bounds.add_argument("--timeout", type=float, metavar="S", help="seconds a request (default: 60)")
    bounds.add_argument("--retries", type=int, metavar="N", help="further tries (default: 6)")
    bounds.add_argument("--max-requests", type=int, metavar="N", help="stop cleanly after N requests")
    bounds.add_argument(
        "--max-cost", type=float, metavar="X", help="stop cleanly before X is spent; needs prices"
    )
    bounds.add_argument("--price-in", type=float, metavar="X", help="for a million tokens of questions")
    bounds.add_argument("--price-out", type=float, metavar="X", help="for a million tokens of answers")
    bounds.add_argument("--price-request", type=float, metavar="X", help="for a request (a picture)")


def check_options(values: argparse.Namespace) -> str:
    """The kind of teacher. Raises: WrongUse for an option that does not fit it, or one that it lacks."""
    kind, _, name = values.teacher.partition(":")
    if kind not in TEACHER_KINDS or not name:
        raise WrongUse(
            f"--teacher is KIND:NAME with KIND one of {', '.join(TEACHER_KINDS)}; it is {values.teacher!r}."
        )
    asked_for = (values.kind or "embeddings") if kind == "api" else kind
    fits = {kind, asked_for}
    if kind == "hf" and values.kind == "answers":
        asked_for, fits = _LOCAL, {_LOCAL, "answers"}
    for option, fitting in FITS.items():
        if getattr(values, option, None) is not None and not fits & set(fitting):
            raise WrongUse(f"{_flag(option)} is for {_teachers(fitting)}, not for {_teachers((asked_for,))}.")
    if asked_for == "chat" and not values.class_names:
        raise WrongUse("--kind chat needs the classes: --class-names cat,dog (or --kind text for free text).")
    if asked_for == "images" and not (values.encoder or "").startswith("hf:"):
        raise WrongUse("--kind images needs a model that reads the pictures: --encoder hf:PATH.")
    if values.workers is not None and values.engine != "ray":
        raise WrongUse("--workers belongs to --engine ray.")
    if values.max_cost is not None and values.price_in is None and values.price_request is None:
        raise WrongUse("--max-cost needs prices: --price-in and --price-out for a million tokens.")
    return kind


def make_teacher(values: argparse.Namespace, licence: str) -> Any:
    """The teacher of options that :func:`check_options` passed; a module beside you is found too."""
    kind, _, name = values.teacher.partition(":")
    if kind == "hf" and values.kind == "answers":
        return _writer(name, values, licence)
    if kind == "hf":
        return _hf(name, values, licence)
    if kind == "callable":
        return _function(name)
    teacher = _api(name, values, licence)
    if values.kind != "images":
        return teacher
    from limbeck.teachers.generative import GenerativeTeacher

    encoder = _hf(values.encoder.removeprefix("hf:"), values, "")
    return GenerativeTeacher(teacher, encoder, pictures=f"{values.output}.pictures")


def api_teacher(values: argparse.Namespace, licence: str) -> Any:
    """The part of the teacher that asks a server, without what reads its pictures."""
    return _api(values.teacher.partition(":")[2], values, licence)


def _api(name: str, values: argparse.Namespace, licence: str) -> Any:
    from limbeck.teachers.api.limits import Limits, Prices
    from limbeck.teachers.api.teacher import APITeacher

    kind = values.kind or "embeddings"
    prices = {_PRICES[name]: price for name, price in _given(values, *_PRICES).items()}
    options = _given(
        values,
        *(o for o, fitting in FITS.items() if kind in fitting and o not in ("encoder", "table", *_MODEL)),
    )
    if kind == "chat":
        options["class_names"] = values.class_names
    return APITeacher(
        name,
        kind=kind,
        licence=licence,
        limits=Limits(**_given(values, *_LIMITS)),
        prices=Prices(**prices) if prices else None,
        **_given(values, *_SERVER),
        **options,
    )


def _hf(name: str, values: argparse.Namespace, licence: str) -> Any:
    from transformers.utils.logging import disable_progress_bar

    from limbeck.teachers import HFTeacher

    if Path(name).is_dir():  # nothing to download, whose bar would be missed
        disable_progress_bar()
    options = _given(values, *_MODEL, "top_k")
    if str(options.get("layer", "")).lstrip("-").isdigit():
        options["layer"] = int(options["layer"])
    if dtype := options.pop("model_dtype", None):
        options["dtype"] = dtype
    return HFTeacher(name, licence=licence, **options)


def _writer(name: str, values: argparse.Namespace, licence: str) -> Any:
    from limbeck.teachers import AnswerTeacher, WritingTeacher
    from limbeck.teachers.hf.loading import check_device

    options = _given(values, "chat", "system", "top_k")
    length = {} if values.max_tokens is None else {"max_new_tokens": values.max_tokens}
    check_device(values.device)
    teacher = AnswerTeacher.load(name, licence=licence, **options, **length)
    teacher.model.to(values.device or "cpu")
    return WritingTeacher(teacher, temperature=values.temperature or 0.0)


def _function(name: str) -> Any:
    find_own_modules()
    found = callable_named(name if ":" in name else f"{name}:teacher", "--teacher")
    from limbeck.teachers import CallableTeacher

    if hasattr(found, "fingerprint"):
        return found
    try:
        inspect.signature(found).bind({})
    except TypeError as error:
        raise ConfigError(
            f"--teacher callable:{name} cannot be asked ({error}); it must take one batch: def ask(inputs): ..."
        ) from error
    except ValueError:  # of a built-in function, which says nothing of its arguments
        pass
    return CallableTeacher(found)


def _given(values: argparse.Namespace, *options: str) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name in options if (value := getattr(values, name, None)) is not None}


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def _teachers(kinds: tuple[str, ...]) -> str:
    told = {_LOCAL: "--teacher hf: with --kind answers"}
    shown = [
        told.get(kind, f"--kind {kind}" if kind in API_KINDS else f"--teacher {kind}:") for kind in kinds
    ]
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
