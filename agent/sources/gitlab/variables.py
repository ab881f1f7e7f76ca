"""Variables of pipelines, of which only those that the configuration names are kept.

GitLab tells all of a pipeline's or none (https://docs.gitlab.com/api/pipelines/, "List all pipeline variables"), and people
put secrets into them: what is not wanted is left behind here, before anything else sees it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from agent.sources.gitlab.objects import Variables

log = logging.getLogger(__name__)

MAX_VALUE = 100
"""Characters of a value."""
MAX_VARIABLES = 1000
"""Of one pipeline that are looked through."""


class Wanted:
    """The variables of these names."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._has_said = False

    def __bool__(self) -> bool:
        return bool(self._names)

    def of(self, found: object, project: str) -> Variables:
        """What is wanted of a list of `{key, value}`, in the order of the configuration, without what is empty or no text.

        By GraphQL a value that may not be read is null. `project` is the full path.
        """
        if not self._names or not isinstance(found, list):
            return ()
        told: dict[str, str] = {}
        for item in found[:MAX_VARIABLES]:
            key = item.get("key") if isinstance(item, dict) else None
            if not isinstance(key, str) or key not in self._names:
                continue
            value = item.get("value")
            if value is None:
                self.refused(project)
            elif isinstance(value, str):
                told.setdefault(key, value[:MAX_VALUE].encode("utf-8", "replace").decode())
        return tuple((name, told[name]) for name in self._names if told.get(name))

    def refused(self, project: str) -> None:
        """They may not be read in a project; said once, for it is a matter of the token's role more than of the project."""
        if not self._has_said:
            self._has_said = True
            log.warning(
                "variables of pipelines may not be read in %r, and maybe not in other projects: labels variable_* are empty "
                "there; give the token the role Maintainer, or empty labels.variables",
                project,
            )
