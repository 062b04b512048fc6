"""Why a download failed.

| reason | what happened |
|---|---|
| download_refused | the URL, its address, or a redirect is none that may be asked: no request was made to it |
| download_noai | the server says that its content is not for training |
| download_missing | 404 or 410 |
| download_too_large | more bytes than the modality's `max_bytes` |
| download_failed | everything else: other statuses, timeouts, broken or untrusted connections, encoded bodies |

The detail begins with `permanent:` or `transient:`. It holds no times and no counts, so that the plan of a source does
not change from one failure to the next.
"""

from __future__ import annotations


class DownloadError(Exception):
    """A download that failed: a reason code of the table above, and the evidence.

    Args:
        permanent: asking again is of no use until something is changed.
        again: a retry in the same run may help.
        unreachable: the host did not answer at all.
    """

    def __init__(
        self, reason: str, detail: str, *, permanent: bool, again: bool = False, unreachable: bool = False
    ) -> None:
        super().__init__(reason, detail)
        self.reason, self.permanent, self.again, self.unreachable = reason, permanent, again, unreachable
        self.detail = f"{'permanent' if permanent else 'transient'}: {detail}"


def refused(detail: str) -> DownloadError:
    """Return the error of a URL or an address that may not be asked."""
    return DownloadError("download_refused", detail, permanent=True)


def too_large(max_bytes: int) -> DownloadError:
    """Return the error of a body over the limit."""
    return DownloadError("download_too_large", f"more than the {max_bytes} bytes that are read", permanent=True)


def unreachable(again: bool = True) -> DownloadError:
    """Return the error of a host that does not answer."""
    return DownloadError(
        "download_failed", "the host could not be reached", permanent=False, again=again, unreachable=True
    )
