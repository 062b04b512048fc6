"""Move damaged files out of the way, to `_damaged/` in the lake, where people can look at them."""

from __future__ import annotations

from trichord.infra.lake import layout
from trichord.infra.lake.lake import Lake
from trichord.infra.scratch import scratch_folder


def set_aside(lake: Lake, path: str) -> None:
    """Move a file of the lake to `_damaged/`; nothing happens if there is none.

    Raises:
        StorageError: it could not be moved.
    """
    source = lake.uri(path)
    with scratch_folder("damaged") as folder:
        try:
            local = lake.storage.fetch(source, folder)
        except FileNotFoundError:
            return
        lake.storage.put_file(local, lake.uri(layout.damaged_path(path)))
    lake.storage.delete(source)  # an object is still there; a local file has moved


def set_log_aside(lake: Lake, table: str, *, since: int = 0) -> None:
    """Move the commits of a table from a version on, with their copies and all newer checkpoints, to `_damaged/`.

    Killed halfway, the log still counts as damaged.
    """
    for folder in (f"{table}/{layout.COPIES}", layout.log_folder(table)):
        paths = [lake.relative(stat.uri) for stat in lake.list(folder)]
        for path in sorted(paths, key=lambda path: (path.endswith(".json"), path)):  # checkpoints, then commits
            version = path.rsplit("/", 1)[-1].split(".", 1)[0]
            if not version.isdigit() or int(version) >= since:
                set_aside(lake, path)
