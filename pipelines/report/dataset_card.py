"""`dataset_card.md` of a prepared lake, in the format of a Hugging Face dataset card.

Everything from records, sources or settings goes through `markdown`, so that no caption, key or licence turns into a
link, HTML or front matter.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from trichord.infra import digest
from trichord.infra.lake.schema import RECORDS
from trichord.pipelines.report import flow
from trichord.pipelines.report.facts import PREPARED_TABLES, Facts
from trichord.pipelines.report.markdown import code, literal, table, yaml_text
from trichord.pipelines.report.render import count, percent, size, write_file
from trichord.pipelines.report.tally import Tally
from trichord.transforms.op import recipe_of

ROWS, LICENCES, LANGUAGES, SETTINGS_CHARS = 60, 8, 40, 600
MIN_LANGUAGE_SHARE = 0.005  # rarer languages are mostly short texts that were misjudged
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"))  # fmt: skip
# licence identifiers of the Hub, by the letters and digits of a licence's name in lower case
KNOWN_LICENCES = {
    "ccby40": "cc-by-4.0", "ccby30": "cc-by-3.0", "ccby25": "cc-by-2.5", "ccby20": "cc-by-2.0",
    "ccbysa40": "cc-by-sa-4.0", "ccbysa30": "cc-by-sa-3.0", "ccbync40": "cc-by-nc-4.0", "ccbyncsa40": "cc-by-nc-sa-4.0",
    "ccbyncnd40": "cc-by-nc-nd-4.0", "cc0": "cc0-1.0", "cc010": "cc0-1.0", "mit": "mit", "apache20": "apache-2.0",
}  # fmt: skip
TASKS = {"image": ("image-to-text", "text-to-image"), "audio": ("audio-classification", "text-to-audio")}  # beside text
_LANGUAGE = re.compile(r"[a-z]{2,3}")


def write_card(facts: Facts, path: Path) -> None:
    """Write the dataset card of a preparation.

    Raises:
        StorageError: the card cannot be written.
    """
    flows = flow.source_flows(facts)
    sections = [
        _front_matter(facts),
        _summary(facts),
        _sources(flows),
        _composition(facts.records),
        _funnel(facts, flows),
        _duplicates(facts),
        _recipe(facts),
        _personal_data(facts),
        _limits(facts.records),
        _loading(facts),
        _versions(facts),
    ]
    write_file(facts.workspace, path, "\n".join(sections).encode("utf-8", "replace"))


def _front_matter(facts: Facts) -> str:
    kept = facts.totals.rows_kept
    lines = [f"license: {_licence(facts.records)}"]
    languages = _languages(facts.records)
    if languages:
        lines += ["language:", *(f"  - {yaml_text(language)}" for language in languages)]
    present = _modalities(facts.records)
    if present:
        lines += ["modalities:", *(f"  - {name}" for name in present)]
    tasks = _tasks(facts.records)
    if tasks:
        lines += ["task_categories:", *(f"  - {name}" for name in tasks)]
    category = next((name for limit, name in SIZES if kept < limit), "1B<n<10B")
    lines += ["size_categories:", f"  - {category}"]
    names = [chain.source.name for chain in facts.chains]
    lines += [
        "source_datasets:",
        "  - original",
        f"pretty_name: {yaml_text(', '.join(names))}",
        "tags:",
        "  - trichord",
    ]
    return "\n".join(["---", *lines, "---", ""])


def _licence(records: Tally) -> str:
    """Return the licence that all records name, if the Hub knows it; else `other`, or `unknown` if none is named."""
    names = {KNOWN_LICENCES.get(re.sub(r"[^a-z0-9]", "", name.lower()), "other") for name in records.licences}
    if not names:
        return "unknown"
    marked = sum(records.licences.values()) == records.looked
    return names.pop() if len(names) == 1 and marked else "other"


def _languages(records: Tally) -> list[str]:
    total = records.languages.total()
    found = [name for name, rows in records.languages.items()
             if rows >= MIN_LANGUAGE_SHARE * total and _LANGUAGE.fullmatch(name)]  # fmt: skip
    return sorted(found)[:LANGUAGES]


def _modalities(records: Tally) -> list[str]:
    found = {name for _, combination in records.modalities for name in combination.split(" + ")}
    return [name for name in ("text", "image", "audio") if name in found]


def _tasks(records: Tally) -> list[str]:
    pairs = [set(combination.split(" + ")) for _, combination in records.modalities]
    tasks = [task for name, named in TASKS.items() if any({"text", name} <= pair for pair in pairs) for task in named]
    return [*tasks, *(["feature-extraction"] if pairs else [])]


def _summary(facts: Facts) -> str:
    totals, present = facts.totals, _modalities(facts.records)
    names = ", ".join(chain.source.name for chain in facts.chains)
    added = f" + {count(totals.rows_added)} added by cutting" if totals.rows_added else ""
    plural = "" if totals.rows_duplicate == 1 else "s"
    kept, rejected, duplicate = map(count, (totals.rows_kept, totals.rows_rejected, totals.rows_duplicate))
    return f"""# Dataset card: {literal(names)}

{kept} records{f" ({', '.join(present)})" if present else ""}, prepared by Trichord from {len(facts.chains)}
source{"" if len(facts.chains) == 1 else "s"}. Every row is accounted for:
{count(totals.rows_in)} rows in{added} = {kept} kept + {rejected} rejected + {duplicate} duplicate{plural}.
{f"{literal(facts.unread)}.{chr(10)}" if facts.unread else ""}"""


def _sources(flows: list[flow.SourceFlow]) -> str:
    rows = [
        [literal(one.source), one.chain.source.kind if one.chain else "–", count(one.partitions),
         count(one.counts.rows_in), count(one.counts.rows_added), count(one.counts.rows_rejected),
         percent(one.share_rejected), count(one.counts.rows_duplicate), count(one.counts.rows_kept),
         code(one.chain.recipe[:12] if one.chain else "")]
        for one in flows[:ROWS]
    ]  # fmt: skip
    header = ["source", "kind", "#partitions", "#rows in", "#added", "#rejected", "#of all", "#duplicates", "#kept",
              "recipe"]  # fmt: skip
    return "## Sources\n\n" + table(header, rows)


def _composition(records: Tally) -> str:
    if not records.looked:
        return "## Composition\n\nThere are no records.\n"
    seen = "all" if records.whole else f"{count(records.looked)} of {count(records.total)}"
    combinations = [[literal(source), literal(name), count(rows), percent(rows / records.looked)]
                    for (source, name), rows in sorted(records.modalities.items())[:ROWS]]  # fmt: skip
    subsets = [[literal(source), literal(subset), count(rows)]
               for (source, subset), rows in sorted(records.subsets.items())[:ROWS]]  # fmt: skip
    parts = [
        f"## Composition\n\nCounted over {seen} records, duplicates included.\n",
        table(["source", "modalities", "#records", "#share"], combinations),
        table(["source", "subset", "#records"], subsets),
    ]
    if records.languages:
        common = sorted(records.languages.items(), key=lambda item: (-item[1], item[0]))[:LANGUAGES]
        parts.append(table(["language", "#records"], [[literal(name), count(rows)] for name, rows in common]))
    if records.licences:
        common = sorted(records.licences.items(), key=lambda item: (-item[1], item[0]))[:LICENCES]
        parts.append("Licences that the records name (the front matter names one only if all records agree):\n")
        parts.append(table(["licence", "#records"], [[literal(name), count(rows)] for name, rows in common]))
    else:
        parts.append("No record names a licence. Check with the sources before you share the data.\n")
    return "\n".join(parts)


def _funnel(facts: Facts, flows: list[flow.SourceFlow]) -> str:
    steps = [step for step in flow.all_ops(flows) if not step.quiet]
    rows = [[code(step.op), count(step.rows_in), count(step.added), count(step.rejected), count(step.kept)]
            for step in steps[:ROWS]]  # fmt: skip
    reasons = [[code(op), code(reason), count(n)] for (op, reason), n in list(facts.reasons.items())[:ROWS]]
    intro = "Rows in + added by cutting = rejected + rows out. Ops that let every row pass are not listed.\n\n"
    return (
        "## What was left out\n\n" + intro + table(["op", "#rows in", "#added", "#rejected", "#rows out"], rows) + "\n"
        "### Reject reasons\n\n" + (table(["op", "reason", "#rows"], reasons) if reasons else "No row was rejected.\n")
    )


def _duplicates(facts: Facts) -> str:
    rows = [[literal(kind.replace("_", " ")), count(n)] for kind, n in list(facts.duplicates.totals().items())[:ROWS]]
    alike = sum(ref.rows for ref in facts.shards["matches"])
    kept = f"{count(alike)} matches in one modality only were kept (table `matches`).\n"
    return (
        "## Duplicates\n\n"
        + (table(["evidence", "#records dropped"], rows) if rows else "No record is a duplicate.\n")
        + f"\n{kept}"
    )


def _recipe(facts: Facts) -> str:
    parts = ["## How it was prepared\n\nThe ops in order, with version and settings. Together they are the recipe.\n"]
    if facts.changed_since:
        parts.append("The project file or an op changed after the records were made. This is the current recipe.\n")
    groups: dict[str, list[str]] = {}
    for chain in facts.chains:
        groups.setdefault(json.dumps(recipe_of(chain.ops), sort_keys=True), []).append(chain.source.name)
    for recipe, names in groups.items():
        if len(groups) > 1:
            parts.append(f"### {literal(', '.join(names[:20]))}\n")
        rows = [
            [code(op["op"]), str(op["version"]), code(json.dumps(op["settings"], sort_keys=True), SETTINGS_CHARS)]
            for op in json.loads(recipe)
        ]
        parts.append(table(["op", "#version", "settings"], rows))
    return "\n".join(parts)


def _personal_data(facts: Facts) -> str:
    policy, records = facts.workspace.project.prepare.text.pii, facts.records
    scored = records.scores.get("text_pii", ())
    held = sum(value > 0 for _, value in scored)
    masked = sum(rows for (op, _), rows in records.changes.items() if op == "text_pii")
    treatment = {
        "keep": "**keeps them unchanged**",
        "mask": "replaces each with a mask that names only its kind",
        "reject": "rejects rows that contain one",
    }[policy]
    return f"""## Personal data

Texts and captions are searched for email addresses and phone, IP and card numbers. The project file
{treatment}. Of {count(len(scored))} records measured, {count(held)} contained such data; {count(masked)} were
masked. Names, faces and voices are not searched for. Do not share the table `rejects`: it refers to unmasked rows of
the sources.
"""


def _limits(records: Tally) -> str:
    lines = [
        "Scores and languages are measured automatically and contain errors; short texts often get a wrong language.",
        "Near duplicates are found only within the thresholds of the recipe.",
        "Pictures are stored as JPEG of limited size, sounds as 16-bit mono FLAC, not as the sources' own bytes.",
    ]
    if not records.aligned:
        lines.append("Speech was not aligned with its transcripts, so they may differ.")
    if not any(records.subsets) or all(subset == "–" for _, subset in records.subsets):
        lines.append("The sources do not mark train and test subsets.")
    return "## Known limits\n\n" + "".join(f"- {line}\n" for line in lines)


def _loading(facts: Facts) -> str:
    fields = table(["column", "type"], [[code(field.name), code(field.type)] for field in RECORDS])
    return f"""## How to load it

`records` is a Delta Lake table of Parquet files. Read the files that its log names, and leave out duplicates:

```python
import pyarrow.parquet as pq
from deltalake import DeltaTable

versions = {_pinned(facts)}

def files(name):
    return DeltaTable(f"LAKE/{{name}}", version=versions[name]).file_uris()

dropped = pq.read_table(files("duplicates"), columns=["row_digest"])["row_digest"]
records = pq.read_table(files("records"))  # if they exceed memory, read one file at a time
records = records.filter(pc.invert(pc.is_in(records["row_digest"], value_set=dropped.combine_chunks())))

from datasets import load_dataset

dataset = load_dataset("parquet", data_files=files("records"), split="train")  # still contains the duplicates
```

`image` and `audio` are encoded bytes (JPEG, FLAC); `scores` and `labels` are maps.

{fields}"""


def _pinned(facts: Facts) -> str:
    return json.dumps({name: facts.versions[name] for name in ("records", "duplicates") if name in facts.versions})


def _versions(facts: Facts) -> str:
    rows = []
    for name in PREPARED_TABLES:
        shards = facts.shards[name]
        if name in facts.versions:
            held = sum(ref.bytes for ref in shards)
            content = digest.address(name, [[ref.address, ref.sha256] for ref in shards])
            rows.append([name, str(facts.versions[name]), count(len(shards)), count(sum(ref.rows for ref in shards)),
                         size(held), code(content[:16])])  # fmt: skip
    made = (
        f"Records committed {facts.made_at}, recipe {code(facts.commit.get('recipe', '–'))}.\n\n"
        if facts.made_at
        else ""
    )
    header = ["table", "#version", "#shards", "#rows", "#bytes", "digest"]
    return "## Versions and digests\n\n" + made + table(header, rows)
