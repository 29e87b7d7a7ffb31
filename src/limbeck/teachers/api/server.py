"""The way to an OpenAI-compatible server: addresses, the key, and what its failures mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from limbeck.errors import ConfigError, UnknownNameError, nearest
from limbeck.teachers.api.questions import Refused, Stop, Transient

OPENAI = "https://api.openai.com/v1"
_POLICY = ("content_filter", "content_policy_violation", "moderation_blocked", "ResponsibleAIPolicyViolation")
_NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_REPEATABLE = (408, 409, 425, 429)


class Server:
    """One server and one model; :meth:`post` sends a request and turns its failures into those of the engine.

    The key is read from the environment when the first request is sent, and appears in nothing that is
    shown, raised or kept. There is no time limit here: the engine has one for the whole of a request.
    """

    def __init__(self, model: str, base_url: str | None, api_key_env: str) -> None:
        self.model, self.api_key_env = model, api_key_env
        self.endpoint = clean_url(base_url or OPENAI)
        self._user = _user_of(base_url or OPENAI)
        self._client: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_client": None}

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON object that the server answers. Raises: Refused, Transient, Stop."""
        import openai

        if self._client is None:
            self._client = self._connect()
        failure: Exception
        try:
            reply = await self._client.post(path, body=body, cast_to=object)
        # raised below, outside of this block: what the SDK raised holds the request, and so the key
        except openai.APIStatusError as error:
            failure = await self._status(error)
        except openai.APIConnectionError:  # of any kind: time is kept by the engine alone
            failure = Transient("connection lost")
        except (openai.OpenAIError, ValueError):
            failure = Transient("malformed answer")
        else:
            return self._checked(reply)
        raise failure

    async def close(self) -> None:
        """Close the connections; the next request opens new ones, in whatever event loop runs then."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()

    def load(self) -> None:
        """Load the SDK, which takes a second that no request should wait for. Raises: ConfigError without it."""
        try:
            import openai  # noqa: F401
        except ImportError:
            raise ConfigError("Asking an API needs the openai SDK: pip install 'limbeck[api]'") from None

    def _connect(self) -> Any:
        import openai

        key = self._key()
        if not key.isascii() or not key.isprintable():  # no header can carry it
            raise Stop(
                ConfigError(
                    f"The variable {self.api_key_env} holds no key (line breaks, letters with accents); mend it."
                )
            )
        if not key and self.endpoint == OPENAI:
            raise Stop(ConfigError(f"Put the key of {self.endpoint} into the variable {self.api_key_env}."))
        try:  # a third of the time of the SDK's own way for a small request
            transport = openai.DefaultAioHttpClient(timeout=None, auth=self._user)
        except RuntimeError:  # without aiohttp
            transport = openai.DefaultAsyncHttpxClient(timeout=None, auth=self._user)
        return openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=self.endpoint,
            max_retries=0,
            timeout=None,
            http_client=transport,
        )

    def _checked(self, reply: Any) -> dict[str, Any]:
        """The reply, unless it is an error that came as 200."""
        if not isinstance(reply, dict):
            raise Transient("malformed answer")
        if not (error := reply.get("error")):
            return reply
        code = error.get("code") if isinstance(error, dict) else None
        if code in _POLICY:
            raise Refused(f"refused by the server ({code})")
        raise Transient("error in a 200 answer")

    async def _status(self, error: Any) -> Exception:
        """What a status from 400 on means."""
        status, code = int(error.status_code), str(error.code or "")
        if code in _POLICY:
            return Refused(f"refused by the server ({code})")
        if status in (401, 403):
            return Stop(
                ConfigError(
                    f"The server {self.endpoint} refuses the key in {self.api_key_env} ({status}); put a valid one "
                    f"there and run again."
                )
            )
        if status == 402 or code in _NO_MONEY:
            return Stop(
                ConfigError(
                    f"The account at {self.endpoint} has nothing left to spend ({code or status}); top it up and run "
                    "again, the answers so far are kept."
                )
            )
        if status == 404:
            return Stop(await self._unknown())
        if status in _REPEATABLE or status >= 500:
            return Transient(str(status), retry_after(error.response.headers))
        return Refused(f"refused by the server ({code or status})", keep=False, detail=self._said(error))

    async def _unknown(self) -> UnknownNameError:
        """The error for a model that is not there, with the nearest ones where the server lists them."""
        import openai

        known: list[str] = []
        try:
            listed = await self._client.get("/models", cast_to=object)
            known = [str(entry["id"]) for entry in listed["data"]]
        except (openai.OpenAIError, ValueError, KeyError, TypeError):
            pass
        if known and self.model not in known:
            return UnknownNameError(
                f"The server {self.endpoint} has no model {self.model!r}; {nearest(self.model, known)}"
            )
        return UnknownNameError(
            f"The server {self.endpoint} has no model {self.model!r} or no such endpoint (404); check model, "
            "kind and base_url (it often ends in /v1)."
        )

    def _said(self, error: Any) -> str:
        """The server's own words, cut, and without the key should it repeat it."""
        body = error.body if isinstance(error.body, dict) else {}
        words = str(body.get("message") or error.message)
        for secret in filter(None, [self._key(), *(self._user or ())]):
            words = words.replace(secret, "***")
        return words[:200]

    def _key(self) -> str:
        """A file that it was read from may have ended in a line break."""
        return os.environ.get(self.api_key_env, "").strip()


def _user_of(url: str) -> tuple[str, str] | None:
    """User and password in an address, which are sent in a header and never as part of it."""
    parts = urlsplit(url)
    return (unquote(parts.username or ""), unquote(parts.password or "")) if "@" in parts.netloc else None


def clean_url(url: str) -> str:
    """Without user, password and trailing slash: what may be shown and hashed.

    Raises: ConfigError for what is no http address, or has a query.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("base_url must be an address such as http://localhost:8000/v1.")
    if parts.query:
        raise ConfigError(
            "base_url must end before its '?', to which no path can be added; a key belongs in api_key_env."
        )
    shown = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{shown}:{port}" if port else shown, parts.path.rstrip("/"), "", ""))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait: ``retry-after-ms``, or ``Retry-After`` as seconds or as a date."""
    try:
        if (milliseconds := headers.get("retry-after-ms")) is not None:
            return max(float(milliseconds) / 1000, 0.0)
    except ValueError:
        pass
    if (value := headers.get("retry-after")) is None:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max((then - datetime.now(UTC)).total_seconds(), 0.0)
