"""Where records come from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trichord.infra.config.base import Strict

Modality = Literal["text", "image", "audio"]
MappedField = Literal[
    "text", "image", "audio", "captions", "group", "subset", "segments", "pictures", "regions"
]  # the fields of FieldMap but the key, which every row must have
VersionBy = Literal["auto", "etag", "mtime_size", "sha256"]


class FieldMap(Strict):
    """Which field of a row means what; a dot reaches into nested fields (`meta.caption`)."""

    key: str = Field("id", description="The record's stable name, unique over the lake.")
    text: str | None = Field("text", description="The record's text.")
    image: str | None = Field("image", description="Path or URI of the picture; in Parquet and Delta also its bytes.")
    audio: str | None = Field("audio", description="Path or URI of the sound; in Parquet and Delta also its bytes.")
    captions: str | None = Field("captions", description="A list of other wordings of the text.")
    group: str | None = Field("group", description="Records of one group are held out together.")
    subset: str | None = Field("split", description="The source's own mark: train, validation or test.")
    segments: str | None = Field(
        None,
        description="Times in the sound: a list of {start_s, end_s, text}, or the path of an SRT, VTT or JSON file.",
    )
    pictures: str | None = Field(None, description="Pictures with times: a list of {start_s, end_s, image}.")
    regions: str | None = Field(None, description="Boxes with their own text: a list of {box: [x, y, w, h], text}.")


class SourceBase(Strict):
    """What every source has."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Unique name of the source.")
    path: str = Field(description="Local path (relative to the project file) or URI (s3://, gs://, az://).")
    require: tuple[Modality, ...] = Field((), description="Modalities a record must have; others may be missing.")
    optional_fields: tuple[MappedField, ...] = Field(
        (),
        description="Fields that may be absent or empty in every row, for example `[audio]`. Others that `fields` "
        "names must be filled in some row, and of the files that rows name some must exist.",
    )
    require_any: int = Field(1, ge=1, le=3, description="How many modalities a record must have, whichever they are.")
    version_by: VersionBy = Field(
        "auto",
        description="How a changed file is noticed; auto: etag in a bucket, sha256 (cached by mtime and size) locally.",
    )
    parents: Literal["keep", "drop"] = Field(
        "keep", description="What becomes of a row that was cut into segments or regions."
    )


class ManifestSource(SourceBase):
    """Rows of a JSONL, CSV or TSV file that name text and media files."""

    kind: Literal["manifest"]
    format: Literal["auto", "jsonl", "csv", "tsv"] = Field("auto", description="auto goes by the file's ending.")
    delimiter: str | None = Field(
        None,
        pattern=r'^[^"\r\n]$',
        description="What separates the columns of a table, such as `;`. Unset: a comma in CSV, a tab in TSV, or what "
        "Excel's first line `sep=;` says.",
    )
    media_root: str | None = Field(
        None, description="Media paths are relative to this and may not leave it; the manifest's folder if unset."
    )
    fields: FieldMap = FieldMap()


class FolderSource(SourceBase):
    """Loose files joined by stem: a.txt, a.jpg and a.wav are one record `a`, in any order."""

    kind: Literal["folder"]
    subset: Literal["folder"] | None = Field(
        "folder",
        description="folder: first folders are train/test marks if one is named as a part (`test`, `dev`), or two are "
        "(`train-a`, `val-a`); null: they are only names.",
    )


class InventorySource(SourceBase):
    """Objects of a bucket as S3 Inventory lists them, joined by stem as in a `folder` source. The bucket is not listed.

    `path` is an inventory's manifest.json, or the folder of its configuration, of which the newest run is read.
    """

    kind: Literal["inventory"]
    path: str = Field(
        pattern=r"^s3://", description="s3:// URI of a manifest.json, or of the folder that holds an inventory's runs."
    )
    media_root: str = Field(
        pattern=r"^s3://", description="s3:// URI of the folder whose objects are read; keys are relative to it."
    )
    subset: Literal["folder"] | None = Field("folder", description="As of a `folder` source.")
    warn_after_days: float = Field(
        9, gt=0, description="`plan` warns of an older inventory. A weekly one takes up to two days to arrive."
    )


class CaptionsSource(SourceBase):
    """Photos with captions: COCO (JSON with `images` and `annotations`), Karpathy's JSON (`images` with `sentences`),
    Flickr8k/30k (token file, or a CSV).

    An image's `split` in JSON is its train/test mark.
    """

    kind: Literal["captions"]
    format: Literal["auto", "coco", "karpathy", "flickr"] = Field(
        "auto", description="auto: .json is COCO or Karpathy's, by its content; else Flickr."
    )
    splits: dict[str, str] = Field(
        {},
        description="Files that list the pictures of a part, one a line, for example "
        "`test: Flickr_8k.testImages.txt`; the key is the mark.",
    )
    max_bytes: int = Field(
        256 << 20,
        ge=1,
        description="A larger captions file is refused: it is held in memory, at about 10 times its size.",
    )
    media_root: str | None = Field(None, description="Folder of the photos; the captions file's folder if unset.")


class MediaFolderSource(SourceBase):
    """A Hugging Face imagefolder or audiofolder: media in (class) folders, with metadata.jsonl or metadata.csv."""

    kind: Literal["imagefolder", "audiofolder"]
    fields: FieldMap = Field(
        FieldMap(key="file_name"),
        description="Columns of the metadata; with key `file_name` a record is named by its path below `path`.",
    )


class ParquetSource(SourceBase):
    """Parquet files, one or all of a folder, whose folders may name columns (`split=test/`).

    Media are bytes (also Hugging Face's {bytes, path}) or paths.

    With bytes, a partition is a range of row groups. With the key `#row` a row is named by its file and position.
    """

    kind: Literal["parquet"]
    media_root: str | None = Field(None, description="Media paths are relative to this; the file's folder if unset.")
    fields: FieldMap = FieldMap()


class WebDatasetSource(SourceBase):
    """Tar files whose members are joined by key (`a.jpg`, `a.txt`, `a.wav`), in any order; a partition is one tar.

    `path` is a tar (also .tar.gz, .tar.bz2, .tar.xz, .tar.zst), a folder of tars, or a pattern such as
    `train-{000..013}.tar`.
    """

    kind: Literal["webdataset"]
    max_unpacked_bytes: int = Field(
        8 << 30,
        ge=1,
        description="A compressed tar that unpacks to more is refused; it is unpacked to a temporary file.",
    )


class DeltaSource(SourceBase):
    """A Delta Lake table; a partition is one of its data files, so a new version costs only what changed."""

    kind: Literal["delta"]
    version: int | None = Field(None, ge=0, description="Table version to read; the newest if unset.")
    media_root: str | None = Field(None, description="Media paths are relative to this; the table's folder if unset.")
    fields: FieldMap = FieldMap()


Source = Annotated[
    ManifestSource
    | FolderSource
    | CaptionsSource
    | MediaFolderSource
    | ParquetSource
    | WebDatasetSource
    | DeltaSource
    | InventorySource,
    Field(discriminator="kind"),
]
