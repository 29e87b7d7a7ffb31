"""A real HTTP server in a process of its own that speaks as OpenAI's does, and misbehaves as it is told.

Run as a script it serves; :class:`FaultServer` starts it, tells it what to do wrong, and reads what it was asked:
a line for every request, written before the answer leaves, so that the count survives the server's death.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

WIDTH = 8
KEY = "sk-correct-key"


class FaultServer:
    """``with FaultServer(tmp_path) as server:`` and ``server.fault(do="status", status=429, times=2)``.

    A fault is taken by the next ``times`` requests (those that hold the text ``match``, if given):
    ``status`` (with ``status``, ``headers``, ``body``), ``reset``, ``silence``, ``drip``, ``malformed``, ``reply``
    (another ``body``), ``shuffle``, ``width``, ``empty``, ``die``.
    """

    def __init__(self, folder: Path, latency: float = 0.0, key: str | None = None) -> None:
        self.log, self.latency, self.key = folder / "server.jsonl", latency, key
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FaultServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start, or come back on the same port."""
        command = [sys.executable, __file__, "--port", str(self.port), "--log", str(self.log)]
        command += ["--latency", str(self.latency), *(["--key", self.key] if self.key else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"serving\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def fault(self, do: str, times: int = 1, match: str | None = None, **what: Any) -> None:
        fault = {"do": do, "times": times, "match": match, **what}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/fault", json.dumps(fault).encode(), method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    def requests(self) -> list[dict[str, Any]]:
        """``{"inputs": [...], "fault": what was done wrong or "", "time": ...}`` of each, in order."""
        whole, _, _ = (self.log.read_text() if self.log.exists() else "").rpartition(
            "\n"
        )  # a line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    def asked(self) -> dict[str, int]:
        """How often each input was asked."""
        counts: dict[str, int] = {}
        for text in (t for request in self.requests() for t in request["inputs"]):
            counts[text] = counts.get(text, 0) + 1
        return counts

    def answered(self) -> dict[str, int]:
        """How often each input was answered well."""
        counts: dict[str, int] = {}
        for text in (t for r in self.requests() if r["fault"] in ("", "shuffle") for t in r["inputs"]):
            counts[text] = counts.get(text, 0) + 1
        return counts


def embedding(text: str, width: int = WIDTH) -> list[float]:
    """The vector that the server gives for a text; whole numbers of 256, exact in float32."""
    return [byte / 256 for byte in hashlib.sha256(text.encode()).digest()[:width]]


class _Server:
    def __init__(self, log: Path, latency: float, key: str | None) -> None:
        self.log, self.latency, self.key = open(log, "a", buffering=1), latency, key  # noqa: SIM115
        self.faults: list[dict[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and await self.answer(head, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = head.decode().strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if path == "/fault":
            self.faults.append(json.loads(body))
            return await send(writer, 200, b"{}")
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            self.note([], "key")
            echoed = {"error": {"message": f"Incorrect API key: {headers.get('authorization')}"}}
            return await send(writer, 401, json.dumps(echoed).encode())
        if method == "GET":
            return await send(writer, 200, json.dumps({"data": [{"id": "small"}, {"id": "large"}]}).encode())
        asked = json.loads(body)
        inputs = asked.get("input")
        inputs = inputs if isinstance(inputs, list) else [json.dumps(asked, sort_keys=True)]
        fault = self.fault_of(inputs)
        if self.latency:
            await asyncio.sleep(self.latency)
        if asked["model"] == "lost" and not fault:
            fault = {"do": "status", "status": 404, "body": {"error": {"message": "no such model"}}}
        self.note(inputs, fault.get("do", ""))
        return await self.misbehave(fault, inputs, writer)

    def fault_of(self, inputs: list[str]) -> dict[str, Any]:
        for fault in self.faults:
            if fault["times"] and (fault["match"] is None or any(fault["match"] in text for text in inputs)):
                fault["times"] -= 1
                return fault
        return {}

    def note(self, inputs: list[str], fault: str) -> None:
        self.log.write(json.dumps({"inputs": inputs, "fault": fault, "time": time.time()}) + "\n")

    async def misbehave(self, fault: dict[str, Any], inputs: list[str], writer: asyncio.StreamWriter) -> bool:
        do = fault.get("do", "")
        if do == "die":
            os._exit(1)
        if do == "silence":
            await asyncio.sleep(3600)
        if do == "status":
            content = json.dumps(fault.get("body", {"error": {"message": "as told"}})).encode()
            return await send(writer, fault["status"], content, fault.get("headers"))
        if do == "reply":
            return await send(writer, 200, json.dumps(fault["body"]).encode())
        content = json.dumps(self.reply(do, fault, inputs)).encode()
        if do == "malformed":
            return await send(writer, 200, content[: len(content) // 2])
        if do == "reset":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(f"content-length: {len(content)}\r\n\r\n".encode() + content[: len(content) // 2])
            await writer.drain()
            writer.transport.abort()
            return False
        if do == "drip":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            writer.write(f"content-length: {len(content)}\r\n\r\n".encode())
            for byte in content:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
            return True
        return await send(writer, 200, content)

    def reply(self, do: str, fault: dict[str, Any], inputs: list[str]) -> dict[str, Any]:
        wrong = fault.get("match")
        data = [
            {
                "object": "embedding",
                "index": n,
                "embedding": embedding(
                    t, WIDTH - 3 if do == "width" and (not wrong or wrong in t) else WIDTH
                ),
            }
            for n, t in enumerate(inputs)
        ]
        if do == "shuffle":
            data.reverse()
        tokens = 10 * len(inputs)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": [] if do == "empty" else data, "usage": usage}


async def send(
    writer: asyncio.StreamWriter, status: int, content: bytes, headers: dict[str, str] | None = None
) -> bool:
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
    await writer.drain()
    return True


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--key")
    values = parser.parse_args()
    server = _Server(values.log, values.latency, values.key)
    async with await asyncio.start_server(server.serve, "127.0.0.1", values.port, backlog=512) as listening:
        print("serving", flush=True)
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
