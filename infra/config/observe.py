"""Where runs are reported besides the log: Prometheus, and a webhook for what needs attention."""

from __future__ import annotations

from pydantic import Field

from trichord.infra.config.base import Strict


class MetricsConfig(Strict):
    """Where the metrics of every run go (docs/observability.md); `trichord metrics` prints and serves them."""

    textfile: str | None = Field(
        None,
        pattern=r"^/.+\.prom$",
        description="File that each run writes for node_exporter's textfile collector, for example "
        "/var/lib/node_exporter/trichord.prom.",
    )
    push_gateway: str | None = Field(
        None,
        pattern=r"^https?://[^\s@?#]+$",
        description="Prometheus push gateway that each run pushes to, for example http://127.0.0.1:9091.",
    )


class AlertsConfig(Strict):
    """A webhook that hears of a refused gate, a lost source and a stale publication (docs/observability.md)."""

    url: str | None = Field(
        None, pattern=r"^https?://[^\s@]+$", description="Receives each alert as a signed POST (Standard Webhooks)."
    )
    key_file: str | None = Field(
        None, pattern=r"^/", description="File with the key that signs: `whsec_` and base64, as receivers print it."
    )
    stale_after_s: float = Field(
        129_600.0,
        gt=0,
        description="A run that ends without a fresh publication alerts once the last fresh one is this old.",
    )
