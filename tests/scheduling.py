"""How tests are shared out over processes: a file or a group is run by one, so what it sets up is set up once."""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling


class ByGroupOrFile(LoadGroupScheduling):
    """Tests of one `xdist_group` stay together; all others stay with their file."""

    def _split_scope(self, nodeid: str) -> str:
        scope = super()._split_scope(nodeid)
        return scope if scope != nodeid else nodeid.partition("::")[0]
