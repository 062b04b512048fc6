"""Standard Webhooks (standardwebhooks.com): signed by HMAC-SHA256, at most five minutes old, each id taken once."""

from __future__ import annotations

import binascii
import threading
import time
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping

from trichord.infra.errors import ConfigError
from trichord.infra.events.secret_file import SecretFile

MOST_KEYS = 2  # the key, and the one that replaces it
TOLERANCE_S = 300  # as the library has it
_LEAST_KEY_BYTES = 24
_REMEMBERED = 100_000
_MAX_ID_CHARS = 256


class Forged(Exception):
    """A request whose signature, time or id is not what a holder of a key sends. Says no more to the sender."""


class HookGate:
    """Checks signatures, and remembers the ids that were taken for as long as a signature holds.

    Args:
        keys: `whsec_…`, one a line.
        clock: seconds that only grow.
    """

    def __init__(self, keys: SecretFile, clock: Callable[[], float] = time.monotonic) -> None:
        self._keys, self._clock = keys, clock
        self._lock = threading.Lock()
        self._taken: OrderedDict[str, float] = OrderedDict()  # id -> when it may be forgotten

    def require_keys(self) -> None:
        """Look at the keys.

        Raises:
            ConfigError: standardwebhooks is not installed, or the file holds no key, a short one, or more than two.
        """
        try:
            import standardwebhooks  # noqa: F401
        except ImportError as missing:
            raise ConfigError(
                "watch.hook_keys needs standardwebhooks.\nNext: pip install 'trichord[events]'"
            ) from missing
        for key in self._current():
            try:
                size = len(b64decode(key.removeprefix("whsec_"), validate=True))
            except (binascii.Error, ValueError):
                size = 0
            if size < _LEAST_KEY_BYTES:
                raise ConfigError(
                    f"watch.hook_keys: a key is `whsec_` and {_LEAST_KEY_BYTES} or more bytes in base64.\n"
                    "Make one: python -c \"import base64, os; print('whsec_' + "
                    'base64.b64encode(os.urandom(32)).decode())"'
                )

    def check(self, headers: Mapping[str, str], body: bytes) -> str:
        """Return the id of a request that a holder of a key sent within the last five minutes.

        Args:
            headers: of the request, their names in lower case.
            body: of the request, to the byte.

        Raises:
            Forged: it is not signed by a current key, or too old or new.
        """
        from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

        name = headers.get("webhook-id", "")
        wanted = {
            one: headers[one] for one in ("webhook-id", "webhook-signature", "webhook-timestamp") if one in headers
        }
        held = False
        for key in self._current():  # every key is tried, so that time does not tell which one it is
            try:
                Webhook(key).verify(body, wanted, json_parse=False)
                held = True
            except (WebhookVerificationError, EmptyWebhookSecretError, ValueError, OverflowError, OSError):
                continue
        if not held or len(name) > _MAX_ID_CHARS:
            raise Forged
        return name

    def take(self, name: str) -> bool:
        """Return True if an id was not taken before, and take it."""
        now_s = self._clock()
        with self._lock:
            while self._taken and (next(iter(self._taken.values())) < now_s or len(self._taken) >= _REMEMBERED):
                self._taken.popitem(last=False)
            if name in self._taken:
                return False
            self._taken[name] = now_s + 2 * TOLERANCE_S  # its time may lie in the future by the tolerance
            return True

    def give_back(self, name: str) -> None:
        """Let an id be taken again: its message found no room."""
        with self._lock:
            self._taken.pop(name, None)

    def _current(self) -> tuple[str, ...]:
        keys = self._keys.lines()
        if len(keys) > MOST_KEYS:
            raise ConfigError(f"watch.hook_keys holds {len(keys)} keys, of at most {MOST_KEYS}. Remove the old ones.")
        return keys
