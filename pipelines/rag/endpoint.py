"""A client of OpenAI-compatible chat completions (`POST <url>/chat/completions`), over urllib3.

The service's key comes from the environment. It is sent only to the service (redirects and proxies are not followed)
and never appears in a log or message. Plain http is allowed only to this machine, unless the project file permits more.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError

from trichord.infra import log
from trichord.infra.config import EndpointConfig
from trichord.infra.errors import ConfigError, ServiceError
from trichord.pipelines.core.json_objects import parse_object

RETRIED = (429, 500, 502, 503, 504)
_PART_BYTES = 1 << 16
_SHOWN_CHARS = 300

Message = Mapping[str, Any]
"""`role` and `content`, as in the API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model wrote.

    Attributes:
        text: its words, stripped.
        finish_reason: `stop`, `length` if it was cut, or whatever the service says; '' if it says nothing.
        model: the model's name, as the service gives it.
        usage: tokens, as the service counts them.
    """

    text: str
    finish_reason: str
    model: str
    usage: Mapping[str, int]


class Endpoint:
    """One service and one model of it.

    Args:
        config: the service.
        setting: its path in the project file, for messages.

    Raises:
        ConfigError: no service or model is named, the key's variable is not set, or plain http is not permitted.
    """

    def __init__(self, config: EndpointConfig, setting: str) -> None:
        if config.url is None or config.model is None:
            missing = "url" if config.url is None else "model"
            raise ConfigError(
                f"{setting}.{missing} is not set, so there is no model to ask.\n"
                f"Name a service, for example --set {setting}.url=http://127.0.0.1:8000/v1 --set {setting}.model=NAME"
            )
        parsed = urllib3.util.parse_url(config.url)
        if parsed.scheme == "http" and not config.allow_http and not _is_loopback(parsed.host or ""):
            raise ConfigError(
                f"{setting}.url uses plain http to {parsed.host}: others on the network could read questions, sources "
                f"and key.\nUse https, or permit http by {setting}.allow_http: true"
            )
        self._config, self._setting = config, setting
        self._url = f"{config.url}/chat/completions"
        self._key = _read_key(config, setting)

    def complete(
        self,
        messages: Sequence[Message],
        *,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
    ) -> Completion:
        """Return what the model answers to a conversation; the service decides settings that are None.

        Raises:
            ServiceError: the service cannot be reached, refuses, takes too long, or gives no completion.
        """
        settings = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        asked = {"model": self._config.model, "messages": list(messages), "stream": False} | {
            name: value for name, value in settings.items() if value is not None
        }
        status, body = self._post(json.dumps(asked).encode("ascii"))
        if status != 200:
            raise self._failed(f"answered with status {status}", body)
        try:
            return _read_completion(parse_object(body))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise self._failed("gave no chat completion", body) from error

    def _post(self, body: bytes) -> tuple[int, bytes]:
        config = self._config
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "trichord",
        }
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        for tried in range(config.retries + 1):
            limit = time.monotonic() + config.timeout_s
            try:
                response = self._pool.request(
                    "POST", self._url, body=body, headers=headers, redirect=False, preload_content=False,
                    decode_content=False,
                )  # fmt: skip
                try:
                    if response.retries is not None and response.retries.history:
                        limit = time.monotonic() + config.timeout_s  # waiting between tries does not count
                    if response.status not in RETRIED or tried == config.retries:
                        return response.status, self._read(response, limit)
                    wait_s = self._wait_s(response.headers.get("Retry-After"), tried)
                finally:
                    response.close()  # unread: the body of a refusal may be endless
            except HTTPError as error:
                raise self._failed(f"cannot be asked: {type(error).__name__}: {error}") from error
            log.event("endpoint_retried", setting=self._setting, status=response.status, wait_s=wait_s)
            time.sleep(wait_s)
        raise AssertionError("the last try returns")

    def _wait_s(self, retry_after: str | None, tried: int) -> float:
        """Return what the service asks for, up to the cap; else the backoff, which begins at the second retry."""
        config = self._config
        if retry_after is not None:
            try:
                return float(urllib3.Retry(retry_after_max=config.retry_after_cap_s).parse_retry_after(retry_after))
            except (HTTPError, ValueError, OverflowError):
                pass  # unreadable, so as if it were absent
        return min(config.backoff_s * 2 ** (tried - 1), config.backoff_cap_s) if tried else 0.0

    def _read(self, response: urllib3.BaseHTTPResponse, limit: float) -> bytes:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise self._failed(f"sent its answer in the encoding {encoding!r}, which was not asked for")
        parts, size = [], 0
        while part := response.read1(_PART_BYTES):
            parts.append(part)
            size += len(part)
            if size > self._config.max_answer_bytes:
                raise self._failed(f"sent more than the {self._config.max_answer_bytes} bytes of max_answer_bytes")
            if time.monotonic() > limit:
                raise self._failed(f"took longer than the {self._config.timeout_s:g} s of timeout_s")
        return b"".join(parts)

    @cached_property
    def _pool(self) -> urllib3.PoolManager:
        config = self._config
        retries = urllib3.Retry(
            total=None,
            connect=config.retries,
            status=0,
            read=0,  # the model may still be writing
            other=0,
            redirect=0,
            allowed_methods=None,
            backoff_factor=config.backoff_s,
            backoff_max=config.backoff_cap_s,
        )
        timeout = urllib3.Timeout(connect=config.connect_timeout_s, read=config.timeout_s)
        return urllib3.PoolManager(retries=retries, timeout=timeout)

    def _failed(self, what: str, body: bytes = b"") -> ServiceError:
        shown = " ".join(body[: 4 * _SHOWN_CHARS].decode("utf-8", "replace").split())[:_SHOWN_CHARS]
        message = f"{self._url} ({self._setting}) {what}{f': {shown}' if shown else ''}"
        if self._key:
            message = message.replace(self._key, "***")
        return ServiceError(f"{message}\nTry it by hand, or change {self._setting} in the project file.")


def _read_completion(answer: Mapping[str, Any]) -> Completion:
    """Raises KeyError, IndexError, TypeError or ValueError if it is not a chat completion."""
    choice = answer["choices"][0]
    text = choice["message"]["content"]
    if not isinstance(text, str):
        raise TypeError("the content is not a text")
    usage = answer.get("usage") or {}
    if not isinstance(usage, dict):
        raise TypeError("the usage is not an object")
    return Completion(
        text=_replace_surrogates(text).strip(),
        finish_reason=_replace_surrogates(str(choice.get("finish_reason") or "")),
        model=_replace_surrogates(str(answer.get("model") or "")),
        usage={_replace_surrogates(name): count for name, count in sorted(usage.items()) if type(count) is int},
    )


def _replace_surrogates(text: str) -> str:
    """Replace halves of surrogate pairs, which JSON can hold but no file can."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _read_key(config: EndpointConfig, setting: str) -> str:
    if config.key_env is None:
        return ""
    key = os.environ.get(config.key_env, "").strip()
    if not key:
        raise ConfigError(f"The environment variable {config.key_env} ({setting}.key_env) is not set.\nExport the key.")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"The environment variable {config.key_env} ({setting}.key_env) does not hold a key.\n"
            "Export the key alone, without blanks."
        )
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
