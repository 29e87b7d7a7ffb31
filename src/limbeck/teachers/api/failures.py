"""What becomes of a server's complaint: one sentence that says why, and whether others may be asked."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urljoin, urlsplit, urlunsplit

from limbeck.errors import ConfigError, LimbeckError, UnknownNameError, nearest
from limbeck.teachers.api.questions import Refused, Stop, TooMuch, Transient
from limbeck.teachers.api.said.complaints import Complaint
from limbeck.teachers.api.said.masking import Mask
from limbeck.teachers.api.said.subjects import POLICY_CODES, Subject, batch_limit

# What ends the asking where nothing was answered yet, and later may be due to one question alone (a firewall).
_OF_A_ROW: tuple[Subject, ...] = ("access", "page", "region", "model", "path")
_LONGEST_REASON = 120  # characters of a server's words in the name of a reason


class Failures:
    """Turns complaints of one server into what the engine raises; the server's own words, cleaned, are in all of it.

    Args:
        endpoint, model: as they are shown.    api_key_env: where the key is.    has_key: whether there is one.
    """

    def __init__(self, endpoint: str, model: str, api_key_env: str, *, has_key: bool, mask: Mask) -> None:
        self.endpoint, self.model, self.api_key_env, self.has_key = endpoint, model, api_key_env, has_key
        self._mask = mask
        self._reasons: dict[tuple[str, str, int], str] = {}

    def of(
        self, said: Complaint, subject: Subject, path: str, n: int, known: Sequence[str], *, is_first: bool
    ) -> Exception:
        """What to raise.

        Args:
            path: of the request.    n: questions in it.    known: models that the server lists.
            is_first: no request has been answered yet, so that it is not a question that is to blame.
        """
        if said.status == 200 and subject not in ("policy", "page"):
            return Transient("error in a 200 answer", detail=said.words)
        if subject in ("rate", "state"):
            return Transient(str(said.status), said.wait, detail=said.words)
        if subject in ("length", "count"):
            at_once = batch_limit(said, n) if subject == "count" else None
            return TooMuch(self._reason(said, subject), detail=said.words, at_once=at_once)
        if subject == "policy":
            keep = said.code.casefold() in POLICY_CODES
            return Refused(self._reason(said, subject), keep=keep, detail=said.words, of_row=True)
        error = self._error(said, subject, path, known)
        if error is None or (subject in _OF_A_ROW and not is_first):
            return Refused(self._reason(said, subject), keep=False, detail=said.words)
        return Stop(error)

    def _reason(self, said: Complaint, subject: Subject) -> str:
        """Short, and the same for all questions that fare alike: the code, else the words of the first of them."""
        if said.code and subject in ("policy", "length"):
            return f"refused by the server ({said.code})"
        words = self._mask.words(said.short, _LONGEST_REASON)
        return self._reasons.setdefault((subject, said.code, said.status), f"refused by the server ({words})")

    def _error(
        self, said: Complaint, subject: Subject, path: str, known: Sequence[str]
    ) -> LimbeckError | None:
        """The error for what no question can change."""
        server, why = f"The server {self.endpoint}", _with_status(said)
        if subject == "redirect":
            return ConfigError(self._led_on(said, path))
        if subject == "key" and not self.has_key:
            return ConfigError(
                f"{server} wants a key ({why}); put it into the variable {self.api_key_env} and run again."
            )
        if subject == "key":
            return ConfigError(
                f"{server} refuses the key in {self.api_key_env} ({why}); put a valid one there and run again."
            )
        if subject == "money":
            return ConfigError(
                f"The account at {self.endpoint} has nothing left to spend ({said.short}); top it up and run again, "
                "the answers so far are kept."
            )
        if subject == "region":
            return ConfigError(f"{server} is not open to this country or network ({why}).")
        if subject == "access":
            return ConfigError(
                f"{server} does not allow this ({why}); look what the account, the model {self.model!r} "
                "and this network may be used for: it does not say that the key is wrong."
            )
        if subject == "page":
            return ConfigError(
                f"What answers at {self.endpoint} is a page for people ({why}), not the API; check "
                "base_url (it often ends in /v1), and whether a firewall stands before it."
            )
        return self._unknown(said, subject, path, known) if subject in ("model", "path") else None

    def _led_on(self, said: Complaint, path: str) -> str:
        try:
            place = urlsplit(urljoin(f"{self.endpoint}{path}", said.location)) if said.location else None
        except ValueError:
            place = None
        if place is None:
            return f"The server {self.endpoint} leads on ({said.status}) to no address; check base_url."
        host = place.netloc.rpartition("@")[2]
        base = urlunsplit((place.scheme, host, place.path.rstrip("/").removesuffix(path), "", ""))
        return (
            f"The server {self.endpoint} leads on to another address ({said.status}), {base}; nothing was sent there: "
            f"give base_url={base!r} if that is the server you mean."
        )

    def _unknown(
        self, said: Complaint, subject: Subject, path: str, known: Sequence[str]
    ) -> UnknownNameError:
        """No such model, with the nearest ones where the server lists them, or no such path."""
        words = f" Its words: {said.words}" if said.words else ""
        server = f"The server {self.endpoint}"
        if known and self.model not in known:
            return UnknownNameError(
                f"{server} has no model {self.model!r}; {nearest(self.model, known)}{words}"
            )
        if known or subject == "model":
            what = f"does not serve the model {self.model!r} at {path} ({said.status})"
            return UnknownNameError(f"{server} {what}; check model and kind.{words}")
        return UnknownNameError(
            f"{server} has no model {self.model!r} or no such endpoint ({said.status}); check model, kind and base_url "
            f"(it often ends in /v1).{words}"
        )


def _with_status(said: Complaint) -> str:
    return f"{said.status}: {said.words.rstrip('.')}" if said.words else str(said.status)
