"""How media behind http(s) URIs are fetched."""

from __future__ import annotations

from ipaddress import ip_network

from pydantic import Field, field_validator

from trichord.infra.config.base import Strict


class WebConfig(Strict):
    """How media behind http(s) URIs are fetched."""

    user_agent: str = Field(
        "trichord (dataset preparation)", pattern=r"^[\x20-\x7e]+$", description="User-Agent of the requests."
    )
    ports: tuple[int, ...] = Field((80, 443), min_length=1, description="Ports that requests may go to.")
    allow_private: tuple[str, ...] = Field(
        (),
        description="Networks (CIDR) that requests may go to even if not public, such as your own object store.",
    )
    ca_file: str | None = Field(None, description="PEM file of further certificate authorities to trust.")
    honour_noai: bool = Field(True, description="Skip media that are served with X-Robots-Tag: noai or noimageai.")
    max_redirects: int = Field(5, ge=0, le=20, description="Most redirects to follow; each is checked again.")
    max_header_bytes: int = Field(65_536, ge=1_024, description="Largest size of a response's headers.")
    connect_timeout_s: float = Field(
        10.0, gt=0, description="Time limit for looking up a host, and for connecting to it."
    )
    read_timeout_s: float = Field(20.0, gt=0, description="Longest wait for a server that sends nothing.")
    total_timeout_s: float = Field(120.0, gt=0, description="Time limit of one attempt, redirects and body included.")
    retries: int = Field(3, ge=0, le=20, description="Retries after 408, 425, 429, 5xx or a broken connection.")
    backoff_s: float = Field(0.5, ge=0, description="Wait before the first retry; doubled for each further one.")
    backoff_cap_s: float = Field(30.0, ge=0, description="Longest wait between attempts.")
    retry_after_cap_s: float = Field(
        60.0, ge=0, description="A server's Retry-After is obeyed up to this; longer ones end the download."
    )
    concurrency: int = Field(16, ge=1, le=1_000, description="Most requests at the same time.")
    per_host: int = Field(4, ge=1, description="Most requests to one host at the same time.")
    min_interval_s: float = Field(0.0, ge=0, description="Time between the starts of two requests to one host.")
    host_failures: int = Field(
        12, ge=1, description="Failed attempts in a row to reach a host, after which the run gives it up."
    )
    max_age_s: float = Field(
        3_600.0, ge=0, description="A download is not requested again for this long, whatever Cache-Control says."
    )
    retry_after_s: float = Field(
        21_600.0, ge=0, description="A failed download is not retried for this long, except by `rejects replay`."
    )
    stale_max_s: float = Field(
        604_800.0, ge=0, description="How long the last good content is used while its server fails; 0: not at all."
    )
    keep_unused_s: float = Field(
        2_592_000.0,
        ge=0,
        description="Cached data of a URL is kept for this long after the last row that names it is gone.",
    )

    @field_validator("ports")
    @classmethod
    def _ports(cls, ports: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 < port < 65_536 for port in ports):
            raise ValueError("a port is a number from 1 to 65535")
        return ports

    @field_validator("allow_private")
    @classmethod
    def _networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks
