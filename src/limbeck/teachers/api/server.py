"""The way to an OpenAI-compatible server: addresses, the key, and what becomes of its failures."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from limbeck.errors import ConfigError
from limbeck.teachers.api.failures import Failures
from limbeck.teachers.api.questions import Again, Stop, Transient
from limbeck.teachers.api.said.bodies import NoJson, parsed
from limbeck.teachers.api.said.complaints import Complaint, complaint_of, of_body
from limbeck.teachers.api.said.masking import Mask
from limbeck.teachers.api.said.subjects import subject_of
from limbeck.teachers.api.terms import Terms

OPENAI = "https://api.openai.com/v1"
_HOLD_ANSWERS = ("choices", "data", "embeddings", "embedding", "output", "results", "images")
_HOLD_ERRORS = ("error", "errors", "detail", "msg", "error_msg", "base_resp")
_HEADERS = {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "limbeck"}
_LIVENESS = 10.0  # seconds in which a server that is there says something
# Reasons of a lost connection that trying again does not mend.
_TELLING = re.compile(
    r"certificate|\[ssl\b|\btls\b|name or service|getaddrinfo|nodename|resolv|proxy", re.IGNORECASE
)


class Server:
    """One server and one model; :meth:`post` sends a request and turns its failures into those of the engine.

    The key is read from the environment when the first request is sent, and appears in nothing that is
    shown, raised, logged or kept, even where the server repeats it. No redirect is followed: questions and key go to
    the address that was given and to no other. There is no time limit here: the engine has one for the whole of a
    request.

    Attributes:
        terms: what the server does not take, learnt from its refusals.
    """

    def __init__(self, model: str, base_url: str | None, api_key_env: str) -> None:
        self.model, self.api_key_env = model, api_key_env
        self.endpoint = clean_url(base_url or OPENAI)
        self.terms = Terms()
        self._user = _user_of(base_url or OPENAI)
        self._client: Any = None
        self._options: dict[str, Any] = {}
        self._mask, self._failures = self._clean_with("")

    def __getstate__(self) -> dict[str, Any]:
        mask, failures = self._clean_with("")
        return self.__dict__ | {"_client": None, "_options": {}, "_mask": mask, "_failures": failures}

    async def post(
        self, path: str, body: Mapping[str, Any], n: int = 1, question: str = ""
    ) -> dict[str, Any]:
        """The JSON object that the server answers.

        Args:
            n: questions in the request.    question: names it among others.

        Raises: Refused, TooMuch, Transient, Stop; Again where it is to be sent anew with other parameters.
        """
        if self._client is None:
            self._client = self._connect()
        sent = self.terms.applied(body, question)
        reply = await self._exchange("POST", path, sent)
        if not isinstance(reply, Complaint):
            self.terms.accepted(body, sent, question)
            return reply
        subject = subject_of(reply, n)
        if refused := self.terms.learn(body, sent, reply, subject, question):
            raise Again(refused)
        is_first = not self.terms.has_answered
        known = await self.models() if is_first and subject in ("model", "path") else []
        raise self._failures.of(reply, subject, path, n, known, is_first=is_first)

    async def models(self) -> list[str]:
        """Names of the models that the server lists; none where it lists none."""
        try:
            listed = await self._exchange("GET", "/models", None)
        except (Transient, Stop):
            return []
        entries = [] if isinstance(listed, Complaint) else listed.get("data")
        names = (
            [e.get("id") if isinstance(e, Mapping) else None for e in entries if e]
            if isinstance(entries, list)
            else []
        )
        return [self._mask.words(name) for name in names if isinstance(name, str)]

    async def alive(self) -> bool:
        """Whether the server is there at all: it says anything, and no gateway before it says that it is not."""
        if self._client is None:
            self._client = self._connect()
        try:
            async with asyncio.timeout(_LIVENESS):
                said = await self._exchange("GET", "/models", None)
        except TimeoutError:
            return False
        except Stop:
            return True
        except Transient as failure:
            return failure.cause != "silent"
        return not isinstance(said, Complaint) or said.status < 500

    async def close(self) -> None:
        """Close the connections; the next request opens new ones, in whatever event loop runs then."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
            self._mask.leave_logs()

    def load(self) -> None:
        """Load the HTTP library, so that no request waits for it. Raises: ConfigError without it."""
        try:
            import aiohttp  # noqa: F401
        except ImportError:
            raise ConfigError("Asking an API needs aiohttp: pip install 'limbeck[api]'") from None

    # ---- one exchange ----------------------------------------------------------------------------------------

    async def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any] | Complaint:
        """The answer, or what the server says instead. Raises: Transient, Stop."""
        import aiohttp

        failure: Exception
        try:
            sent = None if body is None else _json(body)
            asked = self._client.request(method, self.endpoint + path, data=sent, **self._options)
            async with asked as reply:
                content = await reply.read()
        # raised below, outside of this block: what the library raised may hold the request, and so the key
        except aiohttp.ClientError as error:  # of any kind: time is kept by the engine alone
            why = str(error)
            failure = Transient(
                "connection lost", detail=self._mask.words(why) if _TELLING.search(why) else ""
            )
        except OSError:
            failure = Transient("connection lost")
        except ValueError:
            failure = Transient("malformed answer")
        else:
            if 200 <= reply.status < 300:
                return self._checked(self._mask.masked_bytes(content))
            return complaint_of(reply.status, reply.headers, content, self._mask)
        raise failure

    def _checked(self, content: bytes) -> dict[str, Any] | Complaint:
        """The JSON of a 200 answer; a complaint where it holds an error. Raises: Transient, Stop."""
        failure: Exception
        try:
            reply = parsed(content)
        except NoJson as error:
            failure = Transient("malformed answer")
            if error.is_page:
                said = complaint_of(200, {}, content, self._mask)
                failure = Transient("a web page instead of an answer", detail=said.words)
                if not self.terms.has_answered:
                    failure = self._failures.of(said, "page", "", 1, [], is_first=True)
        else:
            if isinstance(reply, list) and reply and all(isinstance(e, (list, dict)) for e in reply):
                reply = {"data": reply}
            if isinstance(reply, dict):
                return self._said_in(reply) or reply
            failure = Transient("malformed answer")
        raise failure

    def _said_in(self, reply: dict[str, Any]) -> Complaint | None:
        """The error that came as 200, if it is one."""
        holds_error = bool(reply.get("error")) or reply.get("object") == "error"
        if not holds_error and (
            any(reply.get(n) for n in _HOLD_ANSWERS) or isinstance(reply.get("message"), Mapping)
        ):
            return None
        if not holds_error and not any(reply.get(name) for name in (*_HOLD_ERRORS, "message")):
            return None
        said = of_body(200, reply, self._mask)
        error = reply.get("error")
        code = error.get("code") if isinstance(error, Mapping) else reply.get("code")
        is_status = isinstance(code, (int, str)) and re.fullmatch(r"[345]\d\d", str(code)) is not None
        return of_body(int(str(code)), reply, self._mask) if is_status else said

    def _connect(self) -> Any:
        import aiohttp

        key = os.environ.get(
            self.api_key_env, ""
        ).strip()  # a file that it was read from may end in a line break
        if not key.isascii() or not key.isprintable():  # no header can carry it
            raise Stop(
                ConfigError(
                    f"The variable {self.api_key_env} holds no key (line breaks, letters with accents); mend it."
                )
            )
        if not key and self.endpoint == OPENAI:
            raise Stop(ConfigError(f"Put the key of {self.endpoint} into the variable {self.api_key_env}."))
        self._mask, self._failures = self._clean_with(key)
        self._mask.watch_logs()
        secret = ":".join(self._user) if self._user else ""
        says = (
            f"Basic {base64.b64encode(secret.encode()).decode()}" if self._user else f"Bearer {key or 'none'}"
        )
        self._options = {"allow_redirects": False, "proxy": _proxy_of(self.endpoint)}
        # time is kept by the engine, which also says how many requests are on their way
        return aiohttp.ClientSession(
            headers=_HEADERS | _account() | {"Authorization": says},
            timeout=aiohttp.ClientTimeout(),
            connector=aiohttp.TCPConnector(limit=0, ssl=_trusted(self.endpoint)),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    def _clean_with(self, key: str) -> tuple[Mask, Failures]:
        """What cuts the key, and the credentials of the address, out of all that the server says."""
        user, password = self._user or ("", "")
        mask = Mask([key, password, f"{user}:{password}" if password else "", user if len(user) > 3 else ""])
        return mask, Failures(self.endpoint, self.model, self.api_key_env, has_key=bool(key), mask=mask)


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _account() -> dict[str, str]:
    """Headers that say which of a key's organisations and projects pays, by OpenAI's own variables."""
    named = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
    return {header: value for header, name in named.items() if (value := os.environ.get(name, "").strip())}


def _proxy_of(url: str) -> str | None:
    """The proxy of the environment (``https_proxy``, ``all_proxy``, ``no_proxy``) for this address.

    Raises: Stop for a proxy of another kind (socks).
    """
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    scheme, mark, _ = proxy.partition("://")
    if mark and scheme.lower() not in ("http", "https"):
        raise Stop(
            ConfigError(
                f"The environment names a proxy of the kind {scheme}, and only http proxies are used; name one in "
                f"{parts.scheme}_proxy, or put the server's host into no_proxy."
            )
        )
    return proxy if mark else f"http://{proxy}"


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Who may vouch for the server: the authorities in ``SSL_CERT_FILE`` or ``SSL_CERT_DIR``, else those of certifi."""
    if url.startswith("http:"):
        return True
    if os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR"):
        return ssl.create_default_context()
    import certifi

    return ssl.create_default_context(cafile=certifi.where())


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
