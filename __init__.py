"""Text, images and audio in one vector space, and an index that follows the lake they come from.

```python
import trichord

workspace = trichord.open("trichord.yaml")
workspace.reindex()
searcher = workspace.searcher()
hits = searcher.search(text="a dog on a beach", k=10)
```

Heavy libraries are imported when they are first used, so `import trichord` is cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trichord.encoders.model import FusionModel
    from trichord.infra import errors
    from trichord.infra.lake.publication import Publication
    from trichord.pipelines.api import Workspace, load_model
    from trichord.pipelines.api import open_workspace as open
    from trichord.pipelines.search.query import Query
    from trichord.pipelines.search.searcher import Hit, Searcher

__version__ = "0.1.0"
__all__ = ["FusionModel", "Hit", "Publication", "Query", "Searcher", "Workspace", "errors", "load_model", "open"]

_HOMES = {
    "FusionModel": ("trichord.encoders.model", "FusionModel"),
    "Hit": ("trichord.pipelines.search.searcher", "Hit"),
    "Publication": ("trichord.infra.lake.publication", "Publication"),
    "Query": ("trichord.pipelines.search.query", "Query"),
    "Searcher": ("trichord.pipelines.search.searcher", "Searcher"),
    "Workspace": ("trichord.pipelines.api", "Workspace"),
    "load_model": ("trichord.pipelines.api", "load_model"),
    "open": ("trichord.pipelines.api", "open_workspace"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "errors":
        return import_module("trichord.infra.errors")
    if name not in _HOMES:
        raise AttributeError(f"module 'trichord' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
