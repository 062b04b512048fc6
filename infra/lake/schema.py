"""The lake's tables. One constant a table; casting happens where a shard is written.

| table | one row is |
|---|---|
| records | a clean, aligned record; `image` is JPEG, `audio` is 16-bit FLAC, both canonical |
| rejects | a row that was left out, and why; `payload` refers to the bytes it came from |
| signatures | what dedup needs of a record: its content hash, and what near copies have in common |
| duplicates | a record dropped and the survivor kept in its place |
| matches | a text, picture or sound that another record also has, where the records are not the same |
| augmented | a training variant of a record, never indexed |
| agreement | how well each modality of a record agrees with its others, in one space |
| vectors | one view of one record in one space, L2-normalised, float32 or float16 |
| publications | an index version made live or rolled back |
| feedback | what a user thought of an answer that was made from a publication |
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

_S, _F64, _I64, _BIN = pa.string(), pa.float64(), pa.int64(), pa.binary()

VectorDtype = Literal["float32", "float16"]
_VECTOR_TYPES: dict[VectorDtype, pa.DataType] = {"float32": pa.float32(), "float16": pa.float16()}


def _schema(*required: tuple[str, pa.DataType], optional: tuple[tuple[str, pa.DataType], ...] = ()) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind, nullable=False) for name, kind in required]
        + [pa.field(name, kind, nullable=True) for name, kind in optional]
    )


SEGMENT = pa.struct([("start_s", _F64), ("end_s", _F64), ("text", _S), ("score", _F64)])
CHANGE = pa.struct([("op", _S), ("field", _S), ("before", _S), ("after", _S)])

RECORDS = _schema(
    ("key", _S),  # stable name of the record, unique in the lake
    ("source", _S),  # name of the source in the project file
    ("partition", _S),  # id of the partition it was read from
    ("group", _S),  # records of one group are held out together; the key where none is mapped
    ("subset", _S),  # 'train', 'test', ... as the source says, or ''
    ("content_digest", _S),  # digest of text and decoded media: equal for exact duplicates
    ("row_digest", _S),  # digest of the prepared row, key and source included
    ("captions", pa.list_(_S)),  # other wordings of `text`
    ("meta", _S),  # the source's other fields, canonical JSON
    ("scores", pa.map_(_S, _F64)),  # what the ops measured, sorted by name
    ("labels", pa.map_(_S, _S)),  # what they found that is not a number (language, map of blurred tiles)
    ("changes", pa.list_(CHANGE)),  # what they changed in the row
    ("segments", pa.list_(SEGMENT)),  # words or sentences with their times in `audio`
    ("parent", _S),  # key of the row this one was cut from, or ''
    optional=(
        ("span", pa.list_(_F64)),  # start and end in the parent's sound, seconds
        ("box", pa.list_(_F64)),  # x, y, width, height in the parent's picture, pixels
        ("text", _S),
        ("image", _BIN),
        ("audio", _BIN),
    ),
)

REJECTS = _schema(
    ("key", _S),
    ("source", _S),
    ("partition", _S),
    ("op", _S),  # the op that refused it, or 'read', 'worker'
    ("reason", _S),  # a reason code, for example 'image_truncated'
    ("detail", _S),
    ("payload", _S),  # JSON: image and audio URI, text, line number
    ("input_digest", _S),  # of the source's row and its media: what is equal need not run again
)

SIGNATURES = _schema(
    ("key", _S),
    ("source", _S),
    ("partition", _S),
    ("row_digest", _S),
    ("content_digest", _S),
    ("input_digest", _S),  # of the source's row and its media; parts have their parent's
    ("modalities", _S),  # 'text', 'image', 'audio' as far as there are, by commas; '' where near copies are not sought
    optional=(
        ("text_sketch", _BIN),  # transforms/dedup/shingles.py; None: no word in it
        ("text_bands", _BIN),
        ("image_hash", _BIN),  # transforms/dedup/spectrum.py; None: nothing to compare
        ("audio_hash", _BIN),
        ("text_form", _BIN),  # transforms/dedup/same_text.py: equal for texts that say the same
        ("image_inner", _BIN),  # the hash of a drawn picture without the ground around it; None: a photograph
        ("image_map", _BIN),  # transforms/dedup/detail.py; None: not a drawn picture
        ("image_detail", _BIN),  # a drawn picture larger than `records` holds it, grey JPEG
    ),
)

DUPLICATES = _schema(
    ("key", _S),
    ("partition", _S),
    ("row_digest", _S),
    ("source", _S),
    ("survivor_key", _S),
    ("survivor_source", _S),
    ("evidence", _S),  # 'exact_content', 'same_key', or 'near: ' and how near each modality is (and 'via' which key)
)

MATCHES = _schema(
    ("modality", _S),  # 'text', 'image' or 'audio'
    ("key", _S),
    ("source", _S),
    ("partition", _S),
    ("other_key", _S),  # the earliest row of all that match
    ("other_source", _S),
    ("distance", _F64),  # share of differing bits; of texts 1 - Jaccard similarity
    ("evidence", _S),  # the distance in words; 'chain': through rows between the two
    ("why", _S),  # they are not the same record, if known: 'other words', 'another colour', 'a part differs', ...
)

AUGMENTED = _schema(
    ("key", _S),  # '<key of the record>#aug<copy>'
    ("source", _S),
    ("partition", _S),
    ("group", _S),
    ("subset", _S),
    ("parent", _S),  # key of the record it is a variant of
    ("copy", _I64),  # 1, 2, ...
    ("ops", pa.list_(_S)),  # changes that were made, in order: JSON of the op's name and what it drew
    ("content_digest", _S),
    ("row_digest", _S),
    ("captions", pa.list_(_S)),
    ("meta", _S),  # the record's, untouched
    ("labels", pa.map_(_S, _S)),  # the record's
    ("segments", pa.list_(SEGMENT)),  # with the times they have in this `audio`
    optional=(
        ("span", pa.list_(_F64)),  # the record's
        ("box", pa.list_(_F64)),
        ("text", _S),
        ("image", _BIN),
        ("audio", _BIN),
    ),
)

AGREEMENT = _schema(
    ("key", _S),
    ("source", _S),
    ("partition", _S),
    ("row_digest", _S),
    ("fold", _I64),  # which model judged it
    ("cosines", pa.map_(_S, _F64)),  # 'image|text+audio' -> of the picture with text and sound, normalised (S-norm)
)

PUBLICATIONS = _schema(
    ("publication", _S),  # id: the manifest digest's first 12 characters and a sequence number
    ("sequence", _I64),
    ("kind", _S),  # 'publish', 'rollback' or 'recover'
    ("manifest", _S),  # lake-relative path of the index manifest
    ("manifest_digest", _S),
    ("inputs_digest", _S),  # digest of everything that was wanted: equal means nothing to do
    ("fingerprint", _S),  # the model's
    ("model", _S),  # lake-relative path of the model
    ("table_versions", _S),  # JSON {table: Delta version}
    ("counts", _S),  # JSON
    ("verdict", _S),  # JSON: the gate's checks with evidence
    ("recipe", _S),  # JSON: digests of the settings, and `seals`: of the files and tables that are pinned
    ("created_at", _S),  # ISO 8601, UTC
)

FEEDBACK = _schema(
    ("answer", _S),  # id of the answer: lake-relative answers/<id>.json
    ("question", _S),
    ("question_digest", _S),
    ("publication", _S),  # the index version that the answer was made from
    ("sources", pa.list_(pa.struct([("key", _S), ("source", _S)]))),  # the records shown, in the order of their numbers
    ("cited", pa.list_(_I64)),  # numbers of those that the answer cites, from 1
    ("rating", _I64),  # -1 bad, 0 neither, 1 good
    ("comment", _S),
    ("created_at", _S),  # ISO 8601, UTC
)


def vectors_schema(dimension: int, dtype: VectorDtype = "float32") -> pa.Schema:
    """Return the schema of the `vectors` table for one space of `dimension` values.

    Delta knows no half precision: of a float16 project, the shards' files are of this schema and halve their vectors,
    while the table itself says float32, to which readers cast.
    """
    return _schema(
        ("key", _S),
        ("view", _S),
        ("source", _S),
        ("partition", _S),
        ("row_digest", _S),
        ("meta", _S),  # the record's
        ("fingerprint", _S),
        ("vector", pa.list_(pa.field("element", _VECTOR_TYPES[dtype], nullable=False))),
    )


TABLES = (
    "records",
    "rejects",
    "signatures",
    "duplicates",
    "matches",
    "augmented",
    "agreement",
    "vectors",
    "publications",
    "feedback",
)
