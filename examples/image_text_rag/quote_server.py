"""A stand-in for a language model: answers with the line of the sources that shares most words with the question.

    python quote_server.py --port 8000

speaks as much of OpenAI's chat completions as `trichord ask` needs, so the example runs without a model. Its answers
are as good as the sources it is shown. It listens on this machine only, and ends with Ctrl-C.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SOURCE = re.compile(r'<source id="(\d+)">\n(.*?)\n</source>', re.S)
COMMON = {
    *("a", "an", "and", "are", "at", "by", "does", "find", "has", "in", "is", "it", "of", "on", "one", "or", "see"),
    *("show", "shows", "the", "there", "to", "we", "what", "with"),
}


def words(text: str) -> set[str]:
    """The words of a text that carry meaning."""
    return set(re.findall(r"[a-z0-9]+", text.lower())) - COMMON


def quoted(messages: list[dict[str, Any]]) -> str:
    """The best line of all sources with its number; of equal ones the first."""
    content = messages[-1]["content"]
    prompt = content if isinstance(content, str) else content[0]["text"]
    asked = words(prompt.rpartition("Question: ")[2])
    lines = [(line, number) for number, text in SOURCE.findall(prompt) for line in html.unescape(text).splitlines()]
    if not lines:
        return "The sources do not hold the answer."
    line, number = max(lines, key=lambda pair: len(words(pair[0]) & asked) / (1 + len(words(pair[0]) | asked)))
    return f"{line} [{number}]"


class Handler(BaseHTTPRequestHandler):
    """Answers `POST /v1/chat/completions`."""

    def do_POST(self) -> None:
        """One question."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        message = {"role": "assistant", "content": quoted(body["messages"])}
        answer = {
            "object": "chat.completion",
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until interrupted; port 0 takes a free one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    server = ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}/v1\n")
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
