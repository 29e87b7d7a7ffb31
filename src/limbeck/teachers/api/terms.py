"""What a server does not take: parameters that are left out, renamed or changed, once for the whole run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limbeck.teachers.api.said.complaints import Complaint
from limbeck.teachers.api.said.subjects import Subject

_ESSENTIAL = {"model", "messages", "input", "prompt"}
# Names that are words of everyday language too, and so are believed only in quotes or beside "parameter".
_EVERYDAY = {"n", "size", "stop", "user", "quality", "style", "metadata", "store", "background"}
_OTHER_NAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_TOGETHER = ("logprobs", "top_logprobs")
# Left out one by one, these first, where the server names nothing.
_LIKELIEST = ("encoding_format", "response_format", *_TOGETHER, "seed", "n", "temperature", "max_tokens")
_SMALLEST_TEMPERATURE = 0.01
_SYSTEM = re.compile(
    r"['\"`]?(?:system|developer)['\"`]?[ _]?(?:role|messages?|prompts?|instructions?)|"
    r"roles?\W{1,20}(?:system|developer)\b|(?:support|allow)\w* ['\"`](?:system|developer)['\"`]",
    re.IGNORECASE,
)
_MOST = re.compile(
    r"(?:<=|≤|<|(?<=\d )>|\bat most|\bmax(?:imum|imal)?(?: \w+){0,3}?(?: of| is)?[ :=]+|\bless than or equal to|"
    r"\bno (?:more|larger|greater) than|\bup to|\bexceed(?:s|ing)?|\bbetween \S+ and|\[\s*-?[\d.]+\s*,|\bto|"
    r"\bsupports(?: only)?|\blower than)\s*['\"`]?(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_LEAST = re.compile(
    r"(?:>=|≥|\bat least|\bminimum(?: \w+){0,3}?(?: of| is)?[ :=]+|\bgreater than or equal to)\s*['\"`]?(\d+)",
    re.IGNORECASE,
)
_ABOVE_ZERO = re.compile(
    r"positive|(?:greater|larger|more) than 0|above 0|> ?0|\(0(?:\.0)?,|non-?zero", re.IGNORECASE
)
_SUBJECTS: tuple[Subject, ...] = ("request", "access", "path", "model", "state")
_MOST_TRIALS = 3  # questions for which the cause is sought


@dataclass(frozen=True)
class Step:
    """One change: ``name``, refused with ``value``, is left out (``how`` = "") or becomes what ``how`` says.

    ``how``: ``rename`` to ``to``; ``set`` to ``to``; ``fold``: the system message goes into the user's.
    """

    name: str
    value: Any
    how: str = ""
    to: Any = None

    def __call__(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.how == "fold":
            return {**body, "messages": _folded(body["messages"])} if "messages" in body else body
        if self.name not in body or not self._fits(body[self.name]):
            return body
        if self.how == "set":
            return {**body, self.name: self.to}
        if self.how == "rename":
            return {self.to if name == self.name else name: value for name, value in body.items()}
        return {name: value for name, value in body.items() if name != self.name}

    def _fits(self, value: Any) -> bool:
        if self.how == "set":
            is_number = isinstance(value, (int, float))
            return is_number and (value > self.to if self.to < self.value else value < self.to)
        return self.how == "rename" or self.name in _TOGETHER or bool(value == self.value)

    @property
    def words(self) -> str:
        """What has become of it."""
        if self.how == "fold":
            return "put before the question"
        return {"rename": f"sent as {self.to}", "set": f"changed to {self.to}"}.get(self.how, "left out")


class Terms:
    """The changes that a server asks for, learnt from what it refuses.

    A parameter that the server names (as ``param``, or in words) is changed where no request with it was answered
    yet in this run; where it names none, one after the other is left out until the request is answered.

    Attributes:
        steps: the changes, in order.    said: name of a changed parameter to the server's words.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.said: dict[str, str] = {}
        self.has_answered = False
        self._taken: set[str] = set()  # parameters of requests that were answered
        self._trials: dict[str, list[list[str]]] = {}  # question to what is left out for it now, and then
        self._n_trials = 0

    @property
    def changes(self) -> dict[str, str]:
        """Name of a parameter to what has become of it."""
        return {step.name: step.words for step in self.steps}

    def applied(self, body: Mapping[str, Any], question: str = "") -> dict[str, Any]:
        """The body as the server takes it.

        Args:
            question: names the request among others, for which a change may be on trial.
        """
        changed = dict(body)
        for step in self.steps:
            changed = step(changed)
        if not (left_out := self._on_trial(question)):
            return changed
        return {name: value for name, value in changed.items() if name not in left_out}

    def accepted(self, body: Mapping[str, Any], sent: Mapping[str, Any], question: str = "") -> None:
        """A request was answered: what was on trial for it is right, and what it held is taken."""
        if self._trials.pop(question, None) is not None:
            before = self.applied(body)
            for name in before.keys() - sent.keys():
                self._add(Step(name, before[name]), "it named no parameter")
        self.has_answered = True
        self._taken.update(sent)

    def learn(
        self,
        body: Mapping[str, Any],
        sent: Mapping[str, Any],
        said: Complaint,
        subject: Subject,
        question: str = "",
    ) -> str | None:
        """Change what was refused; returns what to count, or ``None`` where no change can help.

        Args:
            body: before, and ``sent`` after the changes of that time.
        """
        if subject not in _SUBJECTS:
            return None
        if self.applied(body, question) != sent:  # another request has learnt it meanwhile
            return "a parameter refused"
        if _SYSTEM.search(said.words) and self._fold(sent, said):
            return "a system message refused"
        for name in named_parameters(sent, said):
            if name not in self._taken:
                self._change(name, sent, said)
                return f"{name} refused"
        return "a parameter refused" if self._try_without(sent, said, subject, question) else None

    # ---- a named parameter -----------------------------------------------------------------------------------

    def _change(self, name: str, sent: Mapping[str, Any], said: Complaint) -> None:
        other = _OTHER_NAMES.get(name, "")
        was_renamed = any(step.how == "rename" and step.to == name for step in self.steps)
        if name in _TOGETHER:
            self._change_log_probs(sent, said)
        elif other and other in said.words and not was_renamed:
            self._add(Step(name, sent[name], "rename", other), said.words)
        elif (to := _within(name, sent[name], said.words)) is not None and not self._was_set(name, to):
            self._add(Step(name, sent[name], "set", to), said.words)
        elif other and not was_renamed:
            self._add(Step(name, sent[name], "rename", other), said.words)
        else:
            self._add(Step(name, sent[name]), said.words)

    def _change_log_probs(self, sent: Mapping[str, Any], said: Complaint) -> None:
        """Fewer listed tokens, or none at all and no log-probabilities either."""
        wanted = sent.get("top_logprobs")
        to = _within("top_logprobs", wanted, said.words) if isinstance(wanted, int) else None
        if to is not None and to >= 1 and not self._was_set("top_logprobs", to):
            self._add(Step("top_logprobs", wanted, "set", to), said.words)
        else:
            for name in _TOGETHER:
                if name in sent:
                    self._add(Step(name, sent[name]), said.words)

    def _was_set(self, name: str, to: Any) -> bool:
        return any(step.name == name and step.how == "set" and step.to == to for step in self.steps)

    def _fold(self, sent: Mapping[str, Any], said: Complaint) -> bool:
        messages = sent.get("messages")
        has_system = isinstance(messages, list) and any(m.get("role") == "system" for m in messages)
        if has_system:
            self._add(Step("system", "", "fold"), said.words)
        return has_system

    def _add(self, step: Step, words: str) -> None:
        if step not in self.steps:
            self.steps.append(step)
            self.said[step.name] = words

    # ---- one that the server does not name -------------------------------------------------------------------

    def _try_without(self, sent: Mapping[str, Any], said: Complaint, subject: Subject, question: str) -> bool:
        """Whether the question shall be asked again without what is next in turn."""
        if (groups := self._trials.get(question)) is not None:
            del groups[0]
            if not groups:
                del self._trials[question]
            return bool(groups)
        of_the_row = _ESSENTIAL & {said.param.partition("[")[0].partition(".")[0], *said.fields}
        if self.has_answered or of_the_row or self._n_trials >= _MOST_TRIALS or not (groups := _groups(sent)):
            return False
        # an error of a server that speaks of success, or breaks down, may be of the moment
        if said.status >= 400 and (subject == "request" or (subject == "path" and "parameter" in said.words)):
            self._n_trials += 1
            all_of_them = [[name for group in groups for name in group]] if len(groups) > 1 else []
            self._trials[question] = groups + all_of_them
            return True
        return False

    def _on_trial(self, question: str) -> Sequence[str]:
        return self._trials[question][0] if question in self._trials else ()


def named_parameters(sent: Mapping[str, Any], said: Complaint) -> list[str]:
    """The parameters of a request that a complaint is about, the surest first."""
    own = [name for name in sent if name not in _ESSENTIAL]
    pointed = [said.param, said.param.partition(".")[0], *said.fields]
    found = [name for name in own if name in pointed]
    for name in (name for name in own if name not in found and name.isidentifier()):
        quoted = (
            rf"['\"`‘“]{name}['\"`’”]|\b(?:parameter|argument|field|option|propertie|keyword)s?:? {name}\b"
        )
        pattern = quoted if name in _EVERYDAY else rf"(?<![\w.]){name}(?!\w)"
        if re.search(pattern, said.words):
            found.append(name)
    return found


def _within(name: str, value: Any, words: str) -> Any:
    """The nearest value that the server takes, if it says so; ``None`` if it does not."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if name == "temperature" and value == 0 and _ABOVE_ZERO.search(words):
        return _SMALLEST_TEMPERATURE
    kind = type(value)
    if least := [kind(float(found)) for found in _LEAST.findall(words) if float(found) > value > 0]:
        return min(least)
    smallest = 0 if name == "top_logprobs" else 1e-9
    most = [kind(float(found)) for found in _MOST.findall(words) if smallest <= float(found) < value]
    return max(most) if most else None


def _groups(body: Mapping[str, Any]) -> list[list[str]]:
    """Parameters that are left out together, the likeliest first."""
    groups = [[name] for name in _LIKELIEST if name in body and name not in _TOGETHER]
    if listed := [name for name in _TOGETHER if name in body]:
        groups.insert(min(2, len(groups)), listed)
    known = {*_LIKELIEST, *_ESSENTIAL}
    return [*groups, *([name] for name in body if name not in known)]


def _folded(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages whose system message stands at the beginning of the first one of the user."""
    system = "\n\n".join(str(m["content"]) for m in messages if m.get("role") == "system")
    rest = [dict(m) for m in messages if m.get("role") != "system"]
    if system and rest:
        content = rest[0].get("content")
        rest[0]["content"] = (
            f"{system}\n\n{content}"
            if isinstance(content, str)
            else [{"type": "text", "text": system}, *(content or [])]
        )
    return rest
