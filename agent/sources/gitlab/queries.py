"""The GraphQL queries, made of the fields that an instance knows, and what GitLab takes them to cost.

https://docs.gitlab.com/api/graphql/#limits: complexity 250 for a token, depth 20, pages of 100, 10,000 characters. What
a query costs follows from its fields and the sizes of its pages alone, not from how many projects are named: a hundred
cost as much as one. So a hundred projects go into one query, but of single pipelines only a few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from agent.sources.gitlab.schema import Schema

MAX_COST = 200
"""Of one query by the rule below, which tells GitLab's own number within some percent."""
MAX_PROJECTS = 100
"""Of one request: GitLab's longest page."""
CHILDREN_PAGE = 50
STATUS_PAGE = 15
STATUS_ITEMS = 2000
"""Of one status and project, the newest first: pipelines that wait for people wait for years, and are many."""
HEADS_PAGE = 50
NESTED_PAGE = 20
"""Lengths of pages with which several lists fit into a query."""
HEADS_ITEMS = 300
"""Of branches or tags, those that ran last: what nobody pushes to any more has no state to show."""
RECENT_ITEMS = 50
"""Of merge requests' pipelines, and of those that ended: enough for twenty merge requests and the branches that matter."""
RECENT_CHILDREN = 100
"""Of what those triggered."""
STATUSES_AT_ONCE = 3
STATUSES_WITH_VARIABLES = 2
PIPELINES_AT_ONCE = 7
PIPELINES_WITH_VARIABLES = 6
JOB_LISTS_AT_ONCE = 3
REPORTS_AT_ONCE = 8
"""Of pipelines that are named: how many fit into a query, if each is of another project."""
PAGES_WITH_VARIABLES = 0.7
"""How much shorter the pages of lists are that ask for variables as well."""
VARIABLES = "manualVariables{nodes{key value}}"
"""All that somebody gave a pipeline when it was started (https://docs.gitlab.com/api/graphql/reference/#pipeline)."""
FINAL = frozenset({"SUCCESS", "FAILED", "CANCELED", "SKIPPED"})
CHILDREN = 'source:"parent_pipeline"'
"""Child pipelines are in no list that does not ask for them (https://docs.gitlab.com/api/pipelines/, `source`)."""
_PAGE_INFO = "pageInfo{hasNextPage endCursor}"
_PIPELINE = (
    "id",
    "status",
    "ref",
    "refPath",
    "source",
    "createdAt",
    "startedAt",
    "finishedAt",
    "updatedAt",
    "duration",
    "queuedDuration",
    "coverage",
    "warnings",
)
_JOB = (
    "id",
    "name",
    "status",
    "createdAt",
    "startedAt",
    "finishedAt",
    "duration",
    "queuedDuration",
    "retried",
    "allowFailure",
    "failureMessage",
)
_SUITES = "testSuites(first:100){nodes{name totalTime totalCount successCount failedCount skippedCount errorCount}}"
REPORT = "testReportSummary{total{time count success failed skipped error}" + _SUITES + "}"


class Listing(NamedTuple):
    """One list of pipelines of a project."""

    alias: str
    """What it is called in the answer."""
    arguments: str
    page: int
    """Items of a page."""
    is_children: bool = False
    is_nested: bool = False
    """Whether it brings what these triggered as well."""
    enough: int = 0
    """Items that are read, then no more; 0 = it has to be read to its end."""


def plain(*inside: int) -> int:
    """What a field costs that GitLab just reads, with what is inside it."""
    return 1 + sum(inside)


def page_of(size: int, *inside: int) -> int:
    """What a list costs; it is charged a hundredth more for each item that a page may have."""
    return int((1 + sum(inside)) * (1 + min(size, 100) / 100))


class Queries:
    """Of one instance. `page`: the most items of a page; `children`, `runners`, `variables`: whether those are asked for."""

    def __init__(self, schema: Schema, *, page: int, children: bool, runners: bool, variables: bool = False) -> None:
        self._schema = schema
        self.page = page
        """Items of the longest page."""
        self._children = children
        more = {
            "mergeRequest": "mergeRequest{state}",
            "upstream": f"upstream{{id ref{' refPath' * ('refPath' in schema.pipeline)} project{{fullPath}}}}",
            "sourceJob": "sourceJob{name}",
        }
        # 17.1 has variables and 17.0 lists of children: no nested list, which would be too dear, asks for them
        self._has_variables = variables and "manualVariables" in schema.pipeline and schema.lists_children
        given = [name for name in _PIPELINE if name in schema.pipeline] + [VARIABLES] * self._has_variables
        given += [fields for name, fields in more.items() if name in schema.pipeline]
        self._pipeline = " ".join(given)
        self._child = " ".join(name for name in given if name != "source" and not name.startswith("mergeRequest"))
        jobs = [name for name in _JOB if name in schema.job]
        jobs += ["stage{name}"] * ("stage" in schema.job) + ["artifacts{nodes{size}}"] * ("artifacts" in schema.job)
        jobs += ["runner{runnerType}"] * (runners and "runner" in schema.job)
        self._job = " ".join(jobs)
        self._builds = ",jobKind:BUILD" * ("jobKind" in schema.arguments["jobs"])
        self._archived = ",archived:INCLUDE" * ("archived" in schema.arguments["projects"])

    @property
    def lists_children(self) -> bool:
        """Whether child pipelines are in lists of their own."""
        return self._schema.lists_children

    @property
    def pipelines_at_once(self) -> int:
        """How many pipelines are asked for by id in one query."""
        return PIPELINES_WITH_VARIABLES if self._has_variables else PIPELINES_AT_ONCE

    @property
    def knows_reasons(self) -> bool:
        """Whether a job that failed says why."""
        return "failureMessage" in self._schema.job

    # -- lists of pipelines ----------------------------------------------------------------------------------

    def changed(self, *, is_bounded: bool = False) -> tuple[Listing, ...]:
        """What was updated at or after `$t`, and where it `is_bounded` until `$u`."""
        return self._both("changed", "updatedAfter:$t" + ",updatedBefore:$u" * is_bounded, self.page, CHILDREN_PAGE)

    def unfinished(self) -> list[tuple[Listing, ...]]:
        """What has not ended, by status; each group is a query of its own."""
        found: list[Listing] = []
        for status in self._schema.statuses:
            if status not in FINAL:
                both = self._both(status.lower(), f"status:{status}", STATUS_PAGE, STATUS_PAGE)
                found += (listing._replace(enough=STATUS_ITEMS) for listing in both)
        most = STATUSES_WITH_VARIABLES if self._has_variables else STATUSES_AT_ONCE
        at_once = 1 if found and found[0].is_nested else most
        return [tuple(found[at : at + at_once]) for at in range(0, len(found), at_once)]

    def heads(self) -> tuple[Listing, ...]:
        """The newest of each branch and tag."""
        return tuple(self._newest(alias, f"scope:{alias.upper()}", HEADS_ITEMS) for alias in ("branches", "tags"))

    def recent(self) -> list[tuple[Listing, ...]]:
        """The newest of merge requests, those that have ended, and children; each group is a query of its own."""
        requests = self._newest("requests", 'source:"merge_request_event"', RECENT_ITEMS)
        ended = self._newest("ended", "scope:FINISHED", RECENT_ITEMS)
        if not self._children:
            return [(requests, ended)]
        if self.lists_children:
            page = min(int(self.page * (PAGES_WITH_VARIABLES if self._has_variables else 1)) or 1, RECENT_CHILDREN)
            return [(requests, ended), (Listing("children", CHILDREN, page, is_children=True, enough=RECENT_CHILDREN),)]
        page = min(NESTED_PAGE, self.page)
        return [(one._replace(page=page, is_nested=True, enough=NESTED_PAGE),) for one in (requests, ended)]

    def _newest(self, alias: str, arguments: str, enough: int) -> Listing:
        return Listing(alias, arguments, min(HEADS_PAGE, self.page), enough=enough)

    def listed(self, listings: Iterable[Listing]) -> str:
        """First pages of these lists, of projects `$ids`, which are `$n`."""
        return self._over_projects("", " ".join(self._list(listing, "") for listing in listings))

    def next_page(self, listing: Listing) -> str:
        """The page after `$c` of one list of the one project in `$ids`."""
        whole = listing if listing.is_nested else listing._replace(page=self.page)  # it is alone, and may be as dear as both
        return self._over_projects(",$c:String", self._list(whole, ",after:$c"))

    def _both(self, alias: str, arguments: str, page: int, children_page: int) -> tuple[Listing, ...]:
        share = PAGES_WITH_VARIABLES if self._has_variables else 1.0
        page, children_page = (max(1, int(size * share)) for size in (page, children_page))
        main = Listing(alias, arguments, min(page, self.page))
        if not self._children:
            return (main,)
        if not self.lists_children:
            return (main._replace(page=min(NESTED_PAGE, self.page), is_nested=True),)
        return main, Listing(f"{alias}_children", f"{CHILDREN},{arguments}", min(children_page, self.page), True)

    def _list(self, listing: Listing, after: str) -> str:
        fields = self._child if listing.is_children else self._pipeline
        if listing.is_nested:  # children have children, and those have none
            below = f"downstream(first:100){{nodes{{{self._child} project{{fullPath}}}}}}"
            fields += f" downstream(first:100){{nodes{{{self._child} project{{fullPath}} {below}}}}}"
        return f"{listing.alias}:pipelines({listing.arguments},first:{listing.page}{after}){{nodes{{{fields}}}{_PAGE_INFO}}}"

    def _over_projects(self, variables: str, inside: str) -> str:
        if "$t" in inside:
            variables += ",$t:Time"
        if "$u" in inside:
            variables += ",$u:Time"
        if "$k" in inside:
            variables += ",$k:Int"
        head = f"query($ids:[ID!],$n:Int{variables})"
        return f"{head}{{projects(ids:$ids,first:$n{self._archived}){{nodes{{id fullPath {inside}}}}}}}"

    # -- jobs ------------------------------------------------------------------------------------------------

    def jobs(self, *, main: bool, children: bool) -> str:
        """The jobs of the `$k` newest pipelines that were updated from `$t` to `$u`, of projects `$ids`."""
        lists = (("main", "", main), ("children", f"{CHILDREN},", children))
        inside = " ".join(
            f"{alias}:pipelines({arguments}updatedAfter:$t,updatedBefore:$u,first:$k){{nodes{{id {self._jobs('')}}}}}"
            for alias, arguments, is_wanted in lists
            if is_wanted
        )
        return self._over_projects("", inside)

    def cost(self, projects: int, pipelines: int, lists: int) -> int:
        """What `jobs` costs for so many projects and pages of so many pipelines, one or two lists of each."""
        words = self._job.replace("{", " ").replace("}", " ").split()
        jobs = page_of(self.page, plain(len(words)), plain(2))
        return page_of(projects, plain(1, 1, page_of(pipelines, plain(1, jobs)) * lists))

    def jobs_of(self, wanted: Mapping[int, Sequence[int]]) -> str:
        """The first jobs of pipelines by id, by project."""
        return self._named(wanted, f"id {self._jobs('')}")

    def more_jobs(self, project: int, pipeline: int) -> str:
        """The jobs of one pipeline after `$c`."""
        inside = self._named({project: [pipeline]}, f"id {self._jobs(',after:$c')}")
        return f"query($c:String){inside}"

    def _jobs(self, after: str) -> str:
        return f"jobs(first:{self.page}{self._builds}{after}){{nodes{{{self._job}}}{_PAGE_INFO}}}"

    # -- pipelines by id -------------------------------------------------------------------------------------

    def pipelines(self, wanted: Mapping[int, Sequence[int]]) -> str:
        """Pipelines by id, by project."""
        return self._named(wanted, self._pipeline)

    def reports(self, wanted: Mapping[int, Sequence[int]]) -> str:
        """Test reports in summary of pipelines by id, by project."""
        return self._named(wanted, f"id {REPORT}")

    def _named(self, wanted: Mapping[int, Sequence[int]], fields: str) -> str:
        return "{" + " ".join(self._project(number, pipelines, fields) for number, pipelines in wanted.items()) + "}"

    def _project(self, number: int, pipelines: Sequence[int], fields: str) -> str:
        inside = " ".join(f'p{one}:pipeline(id:"{pipeline_gid(one)}"){{{fields}}}' for one in pipelines)
        arguments = f'ids:["{project_gid(number)}"],first:1{self._archived}'
        return f"r{number}:projects({arguments}){{nodes{{id fullPath {inside}}}}}"


def project_gid(number: int) -> str:
    """The global id of a project."""
    return f"gid://gitlab/Project/{number}"


def pipeline_gid(number: int) -> str:
    """The global id of a pipeline."""
    return f"gid://gitlab/Ci::Pipeline/{number}"
