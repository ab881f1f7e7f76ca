"""What environments lack of the default branch, and how rarely that is asked."""

from __future__ import annotations

from collections import Counter

import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.behind import MAX_COMPARED, Behind, Compared
from agent.sources.gitlab.deployments import Deployment
from tests.gitlab_rest import NOW, SHOP, GitLab, Json, moment

pytestmark = pytest.mark.anyio
ROOT = "/projects/7/repository"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def deployed(number: int, sha: str = "", committed: int | None = NOW - 500) -> Deployment:
    return Deployment(number, f"review/{number}", "success", sha or f"sha{number}", NOW, NOW, 5, committed)


class Repository:
    """One with a commit on the default branch that nobody has deployed."""

    def __init__(self) -> None:
        self.gitlab = GitLab()
        self.errors: Counter[tuple[str, str]] = Counter()
        self.commits: list[Json] = [{"committed_date": moment(NOW - 300)}]
        self.gitlab.more[f"{ROOT}/compare"] = lambda given: {"commits": self.commits}
        self.compared = Compared(self.gitlab, self.errors)
        self.move("head")

    def move(self, head: str) -> None:
        self.gitlab.more[f"{ROOT}/branches/main"] = {"commit": {"id": head}}

    async def refresh(self, *deployments: Deployment) -> list[str]:
        """What that asked for."""
        self.gitlab.asked.clear()
        await self.compared.refresh(SHOP, deployments)
        return [given["from"] if path.endswith("/compare") else path.rsplit("/", 1)[1] for path, given in self.gitlab.asked]


@pytest.fixture
def repository() -> Repository:
    return Repository()


async def test_what_has_not_moved_is_not_compared_again(repository: Repository) -> None:
    asked = [await repository.refresh(deployed(1), deployed(2)) for _ in range(2)]
    asked.append(await repository.refresh(deployed(1), deployed(3)))

    assert asked == [["main", "sha2", "sha1"], ["main"], ["main", "sha3"]]
    assert [repository.compared.of(f"sha{number}") for number in (1, 2, 3)] == [Behind(1, 200), None, Behind(1, 200)]


async def test_a_branch_that_has_moved_is_compared_with_everything(repository: Repository) -> None:
    await repository.refresh(deployed(1))
    repository.commits.append({"committed_date": moment(NOW - 100)})
    repository.move("newer")

    assert await repository.refresh(deployed(1)) == ["main", "sha1"]
    assert repository.compared.of("sha1") == Behind(2, 400)


async def test_one_commit_in_many_environments_is_compared_once_and_the_newest_of_the_branch_never(
    repository: Repository,
) -> None:
    same = [deployed(number, "same") for number in range(30)]

    assert await repository.refresh(*same, deployed(31, "head")) == ["main", "same"]
    assert repository.compared.of("head") == Behind(0, 0)


async def test_when_a_commit_was_made_is_asked_for_once(repository: Repository) -> None:
    repository.gitlab.more[f"{ROOT}/commits/sha1"] = {"committed_date": moment(NOW - 400)}
    first = await repository.refresh(deployed(1, committed=None))
    repository.move("newer")

    assert first == ["main", "sha1", "sha1"]
    assert await repository.refresh(deployed(1, committed=None)) == ["main", "sha1"]
    assert repository.compared.of("sha1") == Behind(1, 100)


async def test_only_some_are_compared_those_deployed_last(repository: Repository) -> None:
    asked = await repository.refresh(*(deployed(number) for number in range(50)))

    assert asked == ["main", *(f"sha{number}" for number in range(49, 49 - MAX_COMPARED, -1))]


@pytest.mark.parametrize(("kind", "again"), [("missing", []), ("status", ["sha1"])])
async def test_a_commit_that_is_gone_is_asked_for_once_and_one_that_could_not_be_compared_again(
    repository: Repository, kind: str, again: list[str]
) -> None:
    repository.gitlab.more[f"{ROOT}/compare"] = CollectError(kind, "no")
    await repository.refresh(deployed(1))

    assert await repository.refresh(deployed(1)) == ["main", *again]
    assert repository.compared.of("sha1") is None
    assert repository.errors == ({("environments", "status"): 2} if again else {})


@pytest.mark.parametrize(("kind", "left"), [("forbidden", None), ("status", Behind(1, 200))])
async def test_with_the_branch_out_of_sight_nothing_is_compared(repository: Repository, kind: str, left: object) -> None:
    await repository.refresh(deployed(1))
    repository.gitlab.more[f"{ROOT}/branches/main"] = CollectError(kind, "no")

    assert await repository.refresh(deployed(1), deployed(2)) == ["main"]
    assert repository.compared.of("sha1") == left
    assert repository.errors == {("environments", kind): 1}


async def test_a_token_that_is_refused_is_an_error(repository: Repository) -> None:
    repository.gitlab.more[f"{ROOT}/compare"] = CollectError("auth", "401 Unauthorized")

    with pytest.raises(CollectError, match="401"):
        await repository.refresh(deployed(1))


@pytest.mark.parametrize("odd", [None, {}, {"commit": None}, {"commit": {"id": 5}}])
async def test_an_answer_that_names_no_commit_is_an_error_of_that_project(repository: Repository, odd: object) -> None:
    repository.gitlab.more[f"{ROOT}/branches/main"] = odd

    await repository.refresh(deployed(1))

    assert repository.errors == {("environments", "json"): 1}
