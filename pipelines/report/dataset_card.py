"""`dataset_card.md` of a prepared lake, in the form of a Hugging Face dataset card.

Whatever comes from records, sources or settings is written by `markdown`, so that no caption, key or licence becomes a
link, HTML or front matter.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from trichord.infra.lake.schema import RECORDS
from trichord.pipelines.core.workspace import Workspace
from trichord.pipelines.report import flow
from trichord.pipelines.report.markdown import code, literal, table, yaml_text
from trichord.pipelines.report.prepared import PREPARED_TABLES, PreparedLake, open_prepared
from trichord.pipelines.report.render import count, percent, size, write_file
from trichord.pipelines.report.tally import Tally, tally

ROWS, LICENCES, LANGUAGES, SETTINGS_CHARS = 60, 8, 40, 600
MIN_LANGUAGE_SHARE = 0.005  # rarer ones are more likely misjudged short texts than languages of the corpus
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip
# identifiers of the Hub, by what records write when letters alone count
KNOWN_LICENCES = {
    "ccby40": "cc-by-4.0", "ccby30": "cc-by-3.0", "ccby25": "cc-by-2.5", "ccby20": "cc-by-2.0",
    "ccbysa40": "cc-by-sa-4.0", "ccbysa30": "cc-by-sa-3.0", "ccbync40": "cc-by-nc-4.0", "ccbyncsa40": "cc-by-nc-sa-4.0",
    "ccbyncnd40": "cc-by-nc-nd-4.0", "cc0": "cc0-1.0", "cc010": "cc0-1.0", "mit": "mit", "apache20": "apache-2.0",
}  # fmt: skip
TASKS = {"image": ("image-to-text", "text-to-image"), "audio": ("audio-classification", "text-to-audio")}  # beside text
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def write_card(workspace: Workspace, path: Path) -> None:
    """Write the dataset card of what the newest preparation left in the lake.

    Raises:
        StorageError: a file of the lake is missing or damaged, or the card cannot be written.
    """
    lake = open_prepared(workspace)
    counted = tally(lake)
    flows = flow.source_flows(lake)
    sections = [
        _front_matter(lake, counted),
        _summary(lake, counted),
        _sources(flows),
        _composition(counted),
        _funnel(lake, flows),
        _duplicates(lake),
        _recipe(lake),
        _personal_data(lake, counted),
        _limits(counted),
        _loading(lake),
        _versions(lake),
    ]
    write_file(workspace, path, "\n".join(sections).encode("utf-8", "replace"))


def _front_matter(lake: PreparedLake, counted: Tally) -> str:
    kept = lake.totals["rows_kept"]
    lines = [f"license: {_licence(counted)}"]
    languages = _languages(counted)
    if languages:
        lines += ["language:", *(f"  - {yaml_text(language)}" for language in languages)]
    present = _modalities(counted)
    if present:
        lines += ["modalities:", *(f"  - {name}" for name in present)]
    tasks = _tasks(counted)
    if tasks:
        lines += ["task_categories:", *(f"  - {name}" for name in tasks)]
    category = next((name for limit, name in SIZES if kept < limit), "1B<n<10B")
    lines += ["size_categories:", f"  - {category}"]
    names = [chain.source.name for chain in lake.chains]
    lines += [
        "source_datasets:",
        "  - original",
        f"pretty_name: {yaml_text(', '.join(names))}",
        "tags:",
        "  - trichord",
    ]
    return "\n".join(["---", *lines, "---", ""])


def _licence(counted: Tally) -> str:
    """The one licence that all records name, if the Hub knows it; else `other`, and `unknown` where none is named."""
    names = {KNOWN_LICENCES.get(re.sub(r"[^a-z0-9]", "", name.lower()), "other") for name in counted.licences}
    if not names:
        return "unknown"
    marked = sum(counted.licences.values()) == counted.looked
    return names.pop() if len(names) == 1 and marked else "other"


def _languages(counted: Tally) -> list[str]:
    total = counted.languages.total()
    found = [name for name, rows in counted.languages.items()
             if rows >= MIN_LANGUAGE_SHARE * total and _LANGUAGE.fullmatch(name)]  # fmt: skip
    return sorted(found)[:LANGUAGES]


def _modalities(counted: Tally) -> list[str]:
    found = {name for _, combination in counted.modalities for name in combination.split(" + ")}
    return [name for name in ("text", "image", "audio") if name in found]


def _tasks(counted: Tally) -> list[str]:
    pairs = [set(combination.split(" + ")) for _, combination in counted.modalities]
    tasks = [task for name, named in TASKS.items() if any({"text", name} <= pair for pair in pairs) for task in named]
    return [*tasks, *(["feature-extraction"] if pairs else [])]


def _summary(lake: PreparedLake, counted: Tally) -> str:
    totals, present = lake.totals, _modalities(counted)
    names = ", ".join(chain.source.name for chain in lake.chains)
    added = f" + {count(totals['rows_added'])} cut from them" if totals["rows_added"] else ""
    kept, rejected, duplicate = (count(totals[f"rows_{fate}"]) for fate in ("kept", "rejected", "duplicate"))
    return f"""# Dataset card: {literal(names)}

{kept} records of {", ".join(present) or "nothing yet"}, prepared from {len(lake.chains)}
source{"" if len(lake.chains) == 1 else "s"} by Trichord. No row vanished:
{count(totals["rows_in"])} rows in{added} = {kept} kept + {rejected} rejected + {duplicate} duplicates.
"""


def _sources(flows: list[flow.SourceFlow]) -> str:
    rows = [
        [literal(one.source), one.kind, count(one.partitions), count(one.rows_in), count(one.added),
         count(one.rejected), percent(one.share_rejected), count(one.duplicate), count(one.kept), code(one.recipe[:12])]
        for one in flows[:ROWS]
    ]  # fmt: skip
    header = [
        "source",
        "kind",
        "#partitions",
        "#rows in",
        "#cut",
        "#rejected",
        "#share",
        "#duplicates",
        "#kept",
        "recipe",
    ]
    return "## Sources\n\n" + table(header, rows)


def _composition(counted: Tally) -> str:
    if not counted.looked:
        return "## Composition\n\nThere is no record.\n"
    seen = "all" if counted.whole else f"{count(counted.looked)} of {count(counted.records)}"
    combinations = [[literal(source), literal(name), count(rows), percent(rows / counted.looked)]
                    for (source, name), rows in sorted(counted.modalities.items())[:ROWS]]  # fmt: skip
    subsets = [[literal(source), literal(subset), count(rows)]
               for (source, subset), rows in sorted(counted.subsets.items())[:ROWS]]  # fmt: skip
    parts = [
        f"## Composition\n\nCounted over {seen} records of the lake, duplicates included.\n",
        table(["source", "modalities", "#records", "#share"], combinations),
        table(["source", "subset", "#records"], subsets),
    ]
    if counted.languages:
        common = sorted(counted.languages.items(), key=lambda item: (-item[1], item[0]))[:LANGUAGES]
        parts.append(table(["language", "#records"], [[literal(name), count(rows)] for name, rows in common]))
    if counted.licences:
        common = sorted(counted.licences.items(), key=lambda item: (-item[1], item[0]))[:LICENCES]
        parts.append("Licences as the records' meta name them (the front matter names one only where all agree):\n")
        parts.append(table(["licence", "#records"], [[literal(name), count(rows)] for name, rows in common]))
    else:
        parts.append("No record names a licence: ask the sources before you share anything.\n")
    return "\n".join(parts)


def _funnel(lake: PreparedLake, flows: list[flow.SourceFlow]) -> str:
    steps = [step for step in flow.all_ops(flows) if not step.quiet]
    rows = [[code(step.op), count(step.rows_in), count(step.added), count(step.rejected), count(step.kept)]
            for step in steps[:ROWS]]  # fmt: skip
    reasons = [[code(op), code(reason), count(n)] for (op, reason), n in list(lake.rejects.items())[:ROWS]]
    told = "Ops that let every row pass are left out; rows in + cut = rejected + rows out.\n\n"
    return (
        "## What was left out\n\n" + told + table(["op", "#rows in", "#cut", "#rejected", "#rows out"], rows) + "\n"
        "### Reject reasons\n\n" + (table(["op", "reason", "#rows"], reasons) if reasons else "No row was rejected.\n")
    )


def _duplicates(lake: PreparedLake) -> str:
    rows = [[literal(kind.replace("_", " ")), count(n)] for kind, n in list(lake.duplicates.items())[:ROWS]]
    alike = sum(ref.rows for ref in lake.shards("matches"))
    told = f"{count(alike)} records are alike another in one modality only and were kept (table `matches`).\n"
    return (
        "## Duplicates\n\n"
        + (table(["evidence", "#records dropped"], rows) if rows else "No record is a duplicate of another.\n")
        + f"\n{told}"
    )


def _recipe(lake: PreparedLake) -> str:
    parts = ["## How it was prepared\n\nOps in order, with version and settings; together they are the recipe.\n"]
    if lake.changed_since:
        parts.append("The project file or an op changed since the records were made: this is the recipe of now.\n")
    groups: dict[str, list[str]] = {}
    by_recipe = {}
    for chain in lake.chains:
        groups.setdefault(json.dumps(chain.described, sort_keys=True), []).append(chain.source.name)
        by_recipe[json.dumps(chain.described, sort_keys=True)] = chain
    for described, names in groups.items():
        chain = by_recipe[described]
        if len(groups) > 1:
            parts.append(f"### {literal(', '.join(names[:20]))}\n")
        rows = [
            [code(op["op"]), str(op["version"]), code(json.dumps(op["settings"], sort_keys=True), SETTINGS_CHARS)]
            for op in chain.described
        ]
        parts.append(table(["op", "#version", "settings"], rows))
    return "\n".join(parts)


def _personal_data(lake: PreparedLake, counted: Tally) -> str:
    policy = lake.workspace.project.prepare.text.pii
    scored = counted.scores.get("text_pii", ())
    held = sum(value > 0 for _, value in scored)
    masked = sum(rows for (op, _), rows in counted.changes.items() if op == "text_pii")
    told = {
        "keep": "they are **kept as they are**",
        "mask": "each is replaced by a mask that says its kind alone",
        "reject": "rows that hold one are rejected",
    }[policy]
    return f"""## Personal data

Mail addresses, phone, IP and card numbers are looked for in texts and captions; by the project file {told}.
Of {count(len(scored))} records measured, {count(held)} held such data; {count(masked)} were masked. Names, faces
and voices are not looked for. The table `rejects` refers to rows as their source holds them, unmasked: do not share it.
"""


def _limits(counted: Tally) -> str:
    lines = [
        "Scores and languages are measured by programs and err; short texts are often given a wrong language.",
        "Near duplicates are found within the limits of the recipe; what differs by more is not seen as one record.",
        "Pictures are stored as JPEG of bounded side, sounds as 16-bit FLAC in mono: not the sources' own bytes.",
    ]
    if not counted.aligned:
        lines.append("Speech was not aligned with its transcripts: whether they say the same was not checked.")
    if not any(counted.subsets) or all(subset == "–" for _, subset in counted.subsets):
        lines.append("The sources mark no train and test subsets.")
    return "## Known limits\n\n" + "".join(f"- {line}\n" for line in lines)


def _loading(lake: PreparedLake) -> str:
    fields = table(["column", "type"], [[code(field.name), code(field.type)] for field in RECORDS])
    return f"""## How to load it

`records` is a Delta Lake table whose data files are Parquet; read the files its log names, and leave out duplicates:

```python
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

versions = {_pinned(lake)}

def files(name):
    return DeltaTable(f"LAKE/{{name}}", version=versions[name]).file_uris()

dropped = pq.read_table(files("duplicates"), columns=["row_digest"])["row_digest"]
records = pq.read_table(files("records"))  # larger than memory: one file at a time
records = records.filter(pc.invert(pc.is_in(records["row_digest"], value_set=dropped.combine_chunks())))

from datasets import load_dataset

dataset = load_dataset("parquet", data_files=files("records"), split="train")  # duplicates are still in it
```

`image` and `audio` are encoded bytes (JPEG, FLAC); `scores` and `labels` are maps.

{fields}"""


def _pinned(lake: PreparedLake) -> str:
    return json.dumps({name: lake.versions[name] for name in ("records", "duplicates") if name in lake.versions})


def _versions(lake: PreparedLake) -> str:
    rows = []
    for name in PREPARED_TABLES:
        shards = lake.shards(name)
        if name in lake.versions:
            held = sum(ref.bytes for ref in shards)
            rows.append([name, str(lake.versions[name]), count(len(shards)), count(sum(ref.rows for ref in shards)),
                         size(held), code(lake.digest_of(name)[:16])])  # fmt: skip
    made = (
        f"Records committed {lake.made_at}, recipe {code(lake.commit.get('recipe', '–'))}.\n\n" if lake.made_at else ""
    )
    header = ["table", "#version", "#shards", "#rows", "#bytes", "digest"]
    return "## Versions and digests\n\n" + made + table(header, rows)
