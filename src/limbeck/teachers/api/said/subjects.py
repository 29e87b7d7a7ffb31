"""What a server's complaint is about: the row, the batch, the account, the address, the model, or the request."""

from __future__ import annotations

import re
from typing import Literal

from limbeck.teachers.api.said.complaints import Complaint

# The row (policy, length), the size of the batch (count), the account (key, money, region, access), the address
# (redirect, path, page), the model, how busy the server is (rate, state), or what was asked for (request).
Subject = Literal[
    "policy", "length", "count", "key", "money", "region", "access", "redirect", "path", "page", "model", "rate",
    "state", "request",
]  # fmt: skip

POLICY_CODES = {
    "content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation",
    "data_inspection_failed", "content_blocked",
}  # fmt: skip
_LENGTH_CODES = {"context_length_exceeded", "string_above_max_length", "exceed_context_size_error"}
_MONEY_CODES = {
    "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_user_quota",
    "insufficient_balance", "arrearage",
}  # fmt: skip
_MODEL_CODES = {"model_not_found", "deploymentnotfound", "invalid_model", "modelnotfound"}
_REGION_CODE = "unsupported_country_region_territory"


def _any_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_POLICY = _any_of(
    r"content[ _](?:policy|filter|management)", r"\bflagged\b", r"\bmoderation\b", r"responsible ?ai",
    r"safety (?:system|filter|reasons|setting)", r"inappropriate content", r"sensitive (?:content|words|information)",
)  # fmt: skip
_MONEY = _any_of(
    r"insufficient[ _](?:account )?(?:balance|credits?|funds|quota|user quota)", r"no credits?\b", r"out of credits?",
    r"balance is (?:too low|insufficient|not enough)", r"credit balance", r"exceeded your current quota",
    r"billing (?:hard )?limit", r"payment required", r"余额不足", r"欠费",
)  # fmt: skip
_MODEL = _any_of(
    r"(?:no such|unknown|invalid|unrecognized) model\b", r"not a valid model", r"invalid model name", r"模型不存在",
    r"\bmodel\b[^.;]{0,80}?(?:not exist|n't exist|not found|is not available|is not loaded)",
)  # fmt: skip
_KEY = _any_of(
    r"api[ _-]?keys?\b", r"unauthori[sz]ed", r"authenticat", r"authori[sz]ation", r"credential", r"\bbearer\b",
    r"invalid (?:access |auth |secret )?token", r"token (?:is |has )?(?:invalid|expired)", r"log ?in\b",
)  # fmt: skip
_BAD_KEY = _any_of(
    r"api[ _-]?key[^.]{0,20}(?:not valid|invalid|expired|missing|required)", r"missing (?:bearer|authorization)",
    r"(?:invalid|incorrect|missing|no) api[ _-]?key",
)  # fmt: skip
_REGION = _any_of(
    r"\bcountr(?:y|ies)\b", r"\bregions?\b", r"\bterritor(?:y|ies)\b", r"location is not supported",
    r"not available (?:in|from) your",
)  # fmt: skip
_LENGTH = _any_of(
    r"context (?:length|window|size)", r"maximum (?:context|input|sequence|prompt|text) length", r"max_model_len",
    r"(?:input|prompt|request|message|text|content|body|payload|entity|sequence|document|string)s?\b[^.]{0,60}"
    r"too (?:long|large|big)",
    r"too (?:long|large) (?:an? )?(?:input|prompt|request|text|body)", r"too many tokens",
    r"tokens (?:per|in|for) (?:this |the |a )?(?:request|batch|input)", r"per submitted batch",
    r"exceeds?\b[^.]{0,60}\b(?:tokens?|length|context)\b", r"must have less than \d+ tokens", r"physical batch size",
    r"range of input length", r"reduce (?:the length|your prompt)", r"token indices sequence length",
    r"(?:larger|longer|greater) than the (?:maximum|max)[^.]*(?:token|length|context)",
)  # fmt: skip
_OF_THE_ANSWER = re.compile(r"\bmax_(?:completion_|output_|new_)?tokens\b", re.IGNORECASE)
_OF_THE_QUESTION = re.compile(r"\b(?:context|inputs?|prompt|messages)\b", re.IGNORECASE)
_COUNT = _any_of(
    r"batch size", r"too many (?:inputs|texts|items|documents|requests in)", r"array too (?:long|large)",
    r"maximum (?:array )?length \d+", r"at most \d+ (?:inputs?|texts?|requests?|documents?|items?|strings?)",
    r"(?:number|count) of (?:inputs|texts|items|documents)", r"split (?:it )?into (?:more|smaller) batches",
    r"(?:inputs?|texts?|items?|documents?)\b[^.]{0,40}(?:should|must|can) (?:not |n't )?(?:be )?"
    r"(?:at most|larger than|more than|exceed)",
)  # fmt: skip


def subject_of(said: Complaint, n: int = 1) -> Subject:
    """What a complaint about a request of ``n`` questions is about.

    Only what means the key is called the key: 401, and 403 or 400 in words to that effect.
    """
    status, codes = said.status, _codes(said)
    if 300 <= status < 400:
        return "redirect"
    if status == 401:
        return "key"
    if codes & POLICY_CODES or (status in (400, 403, 422, 451) and _POLICY.search(said.words)):
        return "policy"
    passes = said.wait is not None or status == 404 or status >= 500
    if status == 402 or codes & _MONEY_CODES or (not passes and _MONEY.search(said.words)):
        return "money"
    if n > 1 and status < 500 and _COUNT.search(said.words):
        return "count"
    if _is_length(said):
        return "length"
    if status == 429:
        return "rate"
    if status in (408, 409, 425) or status >= 500:
        return "state"
    return "page" if said.is_page and status not in (404, 405) else _refusal(said)


def batch_limit(said: Complaint, n: int) -> int:
    """How many questions the server takes in a request, of a complaint about ``n``: the number that it names, else
    half."""
    named = [int(number) for number in re.findall(r"(?<![\w.])\d{1,6}(?![\w.]\d)", said.words)]
    return max((number for number in named if 0 < number < n), default=max(n // 2, 1))


def _is_length(said: Complaint) -> bool:
    if _codes(said) & _LENGTH_CODES or said.status in (413, 414):
        return True
    if said.status not in (400, 422, 429, 500) or not _LENGTH.search(said.words):
        return False
    of_the_answer = _OF_THE_ANSWER.search(f"{said.param} {said.words}")
    return not of_the_answer or _OF_THE_QUESTION.search(said.words) is not None


def _refusal(said: Complaint) -> Subject:
    """Of what is left below 500."""
    status, words = said.status, said.words
    names_model = bool(_codes(said) & _MODEL_CODES)
    speaks_of_model = names_model or re.search(r"\bmodel\b", words, re.IGNORECASE) is not None
    if status in (404, 405, 410):
        return "model" if speaks_of_model and status != 405 else "path"
    if status in (403, 451) or said.code == _REGION_CODE:
        if said.code == _REGION_CODE or _REGION.search(words):
            return "region"
        return "key" if _KEY.search(words) and not speaks_of_model else "access"
    if _BAD_KEY.search(words):
        return "key"
    return "model" if names_model or _MODEL.search(words) else "request"


def _codes(said: Complaint) -> set[str]:
    return {said.code.casefold(), said.type.casefold()}
