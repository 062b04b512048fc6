"""Where the Milvus backend of the index lives, how it is loaded, and how a night renews it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from trichord.infra.config.base import Strict

LITE = ".db"


class MilvusConfig(Strict):
    """A Milvus server, or Milvus Lite in a file; used where `index.backends` names milvus (docs/milvus.md)."""

    uri: str = Field(
        "milvus.db",
        pattern=r"^(https?://[^\s@/?#]+|.+\.db)$",
        description="http(s)://host:port of a server, or a file that ends .db for Milvus Lite: relative to the lake.",
    )
    token_env: str | None = Field(
        None, description="Environment variable that holds the server's token, `user:password` or an API key."
    )
    allow_http: bool = Field(False, description="Permit http:// to another machine than this one.")
    ca_file: str | None = Field(
        None, pattern=r"^/", description="PEM file of the authority that signed the server's certificate."
    )
    cert_file: str | None = Field(None, pattern=r"^/", description="PEM file of this client's certificate.")
    key_file: str | None = Field(None, pattern=r"^/", description="PEM file of this client's key.")
    database: str = Field("default", min_length=1, description="Database of the server.")
    prefix: str = Field(
        "trichord",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$",
        description="Begins the name of every collection; readers follow the alias `<prefix>_live`. One for each lake.",
    )
    index_type: str = Field(
        "HNSW", pattern=r"^[A-Z][A-Z0-9_]*$", description="FLAT, IVF_FLAT, IVF_SQ8, HNSW, DISKANN, GPU_CAGRA ..."
    )
    index_params: dict[str, int | float | str] = Field(
        {}, description="Parameters of the index, for example `M: 32`; customary ones if empty."
    )
    partitions: int = Field(
        0,
        ge=0,
        le=4_096,
        description="Partitions by the hash of the source, so that a search of one source reads few others; 0: none. "
        "Milvus Lite has none.",
    )
    search_params: dict[str, int | float | str] = Field(
        {}, description="Parameters of a search, for example `ef: 200`; those that reach index.recall if empty."
    )
    bulk: Literal["auto", "files", "rest", "insert"] = Field(
        "auto",
        description="How a collection is filled. files: the import call of servers before 2.4; rest: the import jobs "
        "of later ones; insert: in batches. auto: by the server's version where bulk_folder is set, else insert.",
    )
    bulk_folder: str | None = Field(
        None,
        pattern=r"^(/|(s3|gs|az)://[A-Za-z0-9._-]+/.)",
        description="Folder, or prefix of a bucket, for import files: this machine writes and the server reads there.",
    )
    bulk_path: str | None = Field(
        None,
        description="The server's name for bulk_folder, if it is not the same path (in a bucket: the same key).",
    )
    rows_per_file: int = Field(200_000, ge=1, description="An import file never holds more records than this.")
    insert_rows: int = Field(1_000, ge=1, le=10_000, description="Rows of one insert.")
    import_timeout_s: float = Field(900.0, gt=0, description="An import that makes no progress for this long is stuck.")
    timeout_s: float = Field(60.0, gt=0, description="Time limit of a call.")
    refresh: Literal["new", "in_place", "auto"] = Field(
        "new",
        description="new: every index is a collection of its own. in_place: the live collection is changed row by row, "
        "while readers use it. auto: in_place where at most in_place_share of the rows change.",
    )
    in_place_share: float = Field(0.01, ge=0, le=1, description="auto: share of rows that may change in place.")
    keep_collections: int = Field(
        2,
        ge=1,
        description="Collections that `gc` keeps; a rollback to an older publication loads it again.",
    )

    @property
    def lite(self) -> bool:
        """True if this is Milvus Lite."""
        return self.uri.endswith(LITE)

    @field_validator("uri")
    @classmethod
    def _bare(cls, uri: str) -> str:
        return uri.rstrip("/")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.lite and self.partitions:
            raise ValueError("partitions: Milvus Lite has none; name a server as uri, or set it to 0")
        return self
