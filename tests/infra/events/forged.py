"""Webhooks, signed and forged."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from trichord.infra.digest import generator

# The first two are the watcher's.
KEYS = tuple("whsec_" + base64.b64encode(bytes([number]) * 32).decode() for number in range(3))


def signed(body: bytes, *, key: str = KEYS[0], name: str = "msg_1", age_s: float = 0.0) -> dict[str, str]:
    """Headers of a webhook."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    return {"webhook-id": name, "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(key).sign(name, at, body.decode())}  # fmt: skip


def forgeries(body: bytes, count: int) -> Iterator[tuple[bytes, dict[str, str]]]:
    """Hooks of which something is not what a holder of a key sent."""
    for number in range(count):
        random = generator("forged", number)
        good = signed(body, name=f"msg_{number}")
        other = base64.b64encode(random.bytes(32)).decode()
        signature = good["webhook-signature"].removeprefix("v1,")
        flipped = bytearray(base64.b64decode(signature))
        flipped[int(random.integers(32))] ^= 1 << int(random.integers(8))
        changes: list[dict[str, str]] = [
            {"webhook-signature": f"v1,{other}"},
            {"webhook-signature": f"v1,{base64.b64encode(bytes(flipped)).decode()}"},
            {"webhook-signature": f"v2,{signature}"},
            {"webhook-signature": signature},
            {"webhook-signature": " ".join(f"v1,{other}" for _ in range(100))},
            {"webhook-signature": "v1,%%%"},
            {"webhook-signature": ""},
            {"webhook-id": f"other_{number}"},
            {"webhook-id": ""},
            {"webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)},
            {"webhook-timestamp": "1e400"},
            {"webhook-timestamp": "nan"},
            {"webhook-timestamp": ""},
            signed(body, key=KEYS[2], name=f"msg_{number}"),
            {},
        ]
        change = changes[number % len(changes)]
        yield (body if change else body + b" "), {**good, **change}
