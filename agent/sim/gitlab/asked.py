"""What a request asks and what it is answered: parameters, pages of lists, and GitLab's ways of saying no.

Paging: https://docs.gitlab.com/api/rest/#pagination. Errors: https://docs.gitlab.com/api/rest/troubleshooting/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from agent.sim.gitlab.bodies import Bodies
from agent.sim.gitlab.places import Project, Token

MAX_PER_PAGE, DEFAULT_PER_PAGE = 100, 20
MAX_COUNTED = 10_000
"""Lists of more tell no totals."""
MAX_OFFSET = 50_000
"""Of lists that can be paged by key instead."""
MAX_DIGITS = 20
Json = dict[str, Any]
Thing = TypeVar("Thing")
OFFSET_MESSAGE = (
    "Offset pagination has a maximum allowed offset of 50000 for requests that return objects of type Project. "
    "Remaining records can be retrieved using keyset pagination."
)


class RequestError(Exception):
    """The request is answered with an error."""

    def __init__(self, status: int, body: Json | str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(body))
        self.status = status
        self.body = {"message": body} if isinstance(body, str) else body
        self.headers = headers or {}


class Call(NamedTuple):
    """One request as the resources see it."""

    path: Mapping[str, str]
    """The variable parts of the path, decoded."""
    query: Mapping[str, str]
    many: Mapping[str, Sequence[str]]
    """Parameters that can be given several times, by name without []."""
    token: Token | None
    """None = anonymous."""
    now: float
    bodies: Bodies
    project: Project | None = None
    """The one that the path names."""

    @property
    def here(self) -> Project:
        """The project that the path names. Raises RequestError (404) where it names none."""
        if self.project is None:
            raise RequestError(404, "404 Project Not Found")
        return self.project


@dataclass(frozen=True, slots=True)
class Found:
    """An answer to be."""

    body: str
    """JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 1
    """How many objects it holds."""
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Parameters of other pages, by what they are: next, prev, first, last."""
    status: int = 200


def listed(
    call: Call, things: Sequence[Thing], render: Callable[[Thing], str], *, counted: bool = True, bounded: bool = False
) -> Found:
    """The page of `things` that is asked for. `counted`: whether totals are told; `bounded`: whether offsets have an end."""
    size, number = per_page(call), whole(call, "page", 1)
    if bounded and (number - 1) * size > MAX_OFFSET:
        raise RequestError(405, {"error": OFFSET_MESSAGE})
    shown = things[(number - 1) * size : number * size]
    is_counted = counted and len(things) <= MAX_COUNTED
    last = max(1, -(-len(things) // size))
    has_next = number * size < len(things)
    headers = {
        "x-page": str(number),
        "x-per-page": str(size),
        "x-next-page": str(number + 1) if has_next else "",
        "x-prev-page": str(number - 1) if number > 1 else "",
    }
    pages = {"prev": number - 1 if number > 1 else 0, "next": number + 1 if has_next else 0, "first": 1}
    if is_counted:
        headers |= {"x-total": str(len(things)), "x-total-pages": str(last)}
        pages["last"] = last
    links = {rel: {**call.query, "page": str(page), "per_page": str(size)} for rel, page in pages.items() if page}
    return Found(f"[{','.join(map(render, shown))}]", headers, len(shown), links)


def by_key(call: Call, things: Sequence[Thing], key: Callable[[Thing], int], render: Callable[[Thing], str]) -> Found:
    """The page after the key that is asked for, in the order that is asked for; links only, no numbers."""
    size, is_ascending = per_page(call), call.query.get("sort", "desc") == "asc"
    things = sorted(things, key=key, reverse=not is_ascending)
    after = whole(call, "id_after", 0) if is_ascending else whole(call, "id_before", 0)
    left = [each for each in things if not after or (key(each) > after if is_ascending else key(each) < after)]
    shown, links = left[:size], {}
    if len(left) > size:
        links["next"] = {**call.query, "id_after" if is_ascending else "id_before": str(key(shown[-1]))}
    return Found(f"[{','.join(map(render, shown))}]", {}, len(shown), links)


def link_header(base: str, found: Found) -> str:
    """The Link header of an answer; "" = it has none."""
    return ", ".join(f'<{base}?{urlencode(parameters)}>; rel="{rel}"' for rel, parameters in found.links.items())


def per_page(call: Call) -> int:
    """How many things a page holds, which is 100 at most whatever is asked for."""
    return min(MAX_PER_PAGE, whole(call, "per_page", DEFAULT_PER_PAGE))


def whole(call: Call, name: str, default: int) -> int:
    """A parameter that is a number from 1 on. Raises RequestError (400) for any other text."""
    text = call.query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < MAX_DIGITS):
        raise RequestError(400, {"error": f"{name} is invalid"})
    if int(text) < 1:
        raise RequestError(400, {"error": f"{name} does not have a valid value"})
    return int(text)


def choice(call: Call, name: str, allowed: Sequence[str], default: str = "") -> str:
    """A parameter that is one of some words. Raises RequestError (400) for another."""
    text = call.query.get(name, default)
    if text and text not in allowed:
        raise RequestError(400, {"error": f"{name} does not have a valid value"})
    return text


def flag(call: Call, name: str, default: bool | None = None) -> bool | None:
    """A parameter that is true or false. Raises RequestError (400) for another word."""
    text = call.query.get(name, "")
    if text.lower() not in ("", "true", "false", "1", "0"):
        raise RequestError(400, {"error": f"{name} is invalid"})
    return default if not text else text.lower() in ("true", "1")


def moment(call: Call, name: str) -> float | None:
    """A parameter that is a date with a time, seconds since the epoch. Raises RequestError (400) for anything else."""
    text = call.query.get(name, "")
    if not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as error:
        raise RequestError(400, {"error": f"{name} is invalid"}) from error
