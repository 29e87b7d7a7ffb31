"""A local OpenAI-compatible server for chats and pictures, whose answers a test's function makes."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-never-to-be-seen-4711"


class Server:
    """Answers by ``respond(path, body) -> (status, JSON or bytes[, headers])``; keeps what it was asked."""

    def __init__(self, respond: Callable[[str, dict[str, Any]], tuple[Any, ...]]) -> None:
        self.respond, self.asked = respond, []
        self.listing: tuple[Any, ...] = (200, {"data": [{"id": "tiny-chat"}, {"id": "tiny-draw"}]})
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16  # one packet an answer: two would wait for each other

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append((self.path, body, dict(self.headers)))
                self.send(*outer.respond(self.path, body))

            def do_GET(self) -> None:
                self.send(*outer.listing)

            def send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
                content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [body for _, body, _ in self.asked]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


def said(
    text: str | None, *, top: list[list[tuple[str, float]]] | None = None, **choice: Any
) -> tuple[int, Any]:
    """A chat completion; ``top``: for each token the listed ones with log-probabilities, the chosen one first."""
    listed = None
    if top is not None:
        positions = [[{"token": t, "logprob": p} for t, p in row] for row in top]
        listed = {"content": [{**row[0], "top_logprobs": row} for row in positions]}
    message = {"role": "assistant", "content": text}
    entry = {"index": 0, "finish_reason": "stop", "message": message, "logprobs": listed, **choice}
    usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
    return 200, {"choices": [entry], "usage": usage}


def error(status: int, message: str, code: str | None = None) -> tuple[int, Any]:
    return status, {"error": {"message": message, "code": code}}


def vectors(body: dict[str, Any], width: int = 4) -> tuple[int, Any]:
    """An embeddings answer whose vectors tell their texts."""
    import hashlib

    digests = [hashlib.sha256(text.encode()).digest()[:width] for text in body["input"]]
    data = [{"index": n, "embedding": [byte / 256 for byte in digest]} for n, digest in enumerate(digests)]
    return 200, {"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}


def picture(colour: tuple[int, int, int], *, as_url: bool = False, size: int = 8) -> tuple[int, Any]:
    """An image answer: a square of one colour."""
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, format="PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return 200, {"data": [{"url": f"data:image/png;base64,{data}"} if as_url else {"b64_json": data}]}
