"""Values that another exporter takes and cipush does not: told with their line, and translated where it is certain."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.verbs import main
from agent.config import load
from agent.config.draft import MAX_NOTES
from agent.config.imported import imported
from agent.errors import ConfigError
from agent.plugin import Context
from agent.sources.gitlab import Options, build
from tests.importing import keyed, loaded, made, source, told

GITLAB = "gitlab: {token: t}\n"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("gitlab: {rest_page_size: 200}", "gitlab.rest_page_size"),
        ("gitlab: {max_requests_per_second: 0}", "gitlab.max_requests_per_second"),
        ("gitlab: {max_requests_per_second: .inf}", "gitlab.max_requests_per_second"),
        ("gitlab: {burst_requests_per_second: 0.5}", "gitlab.burst_requests_per_second"),
        ("gitlab: {use_graphql: maybe}", "gitlab.use_graphql"),
        ("gitlab: {token: [a]}", "gitlab.token"),
        ("log: {level: loud}", "log.level"),
        ("log: {level: 3}", "log.level"),
        ("server: {listen_address: 'http://here'}", "server.listen_address"),
        ("server: {listen_address: 8080}", "server.listen_address"),
        ("server: {webhook: {enabled: perhaps}}", "server.webhook.enabled"),
        ("collectors: {dora: {interval_seconds: 0}}", "collectors.dora.interval_seconds"),
        ("collectors: {jobs: {interval_seconds: true}}", "collectors.jobs.interval_seconds"),
        ("collectors: {jobs: {histogram_buckets: [9, 1]}}", "collectors.jobs.histogram_buckets"),
        ("collectors: {jobs: {histogram_buckets: []}}", "collectors.jobs.histogram_buckets"),
        ("collectors: {pipelines: {max_pipelines_per_ref: 0}}", "collectors.pipelines.max_pipelines_per_ref"),
        ("project_defaults: {refs: {branches: {regexp: '\\pL'}}}", "project_defaults.refs.branches.regexp"),
        ("project_defaults: {refs: {tags: {regexp: '[[:^alpha:]]'}}}", "project_defaults.refs.tags.regexp"),
        ("project_defaults: {refs: {tags: 5}}", "project_defaults.refs.tags"),
    ],
)
def test_a_value_that_does_not_fit_is_left_out_and_told_under_its_old_key(tmp_path: Path, text: str, key: str) -> None:
    found = made(tmp_path, "\n" + text)

    assert found.loads
    assert loaded(tmp_path, found)
    assert told(found).count(key) == 1
    line = next(note for note in found.notes if f": {key}: " in note)
    assert line.startswith(f"{tmp_path / 'old.yml'}:2: ")
    assert "left out" in line


def test_what_holds_instead_is_said(tmp_path: Path) -> None:
    text = "gitlab: {rest_page_size: 200}\nserver: {listen_address: x}\nlog: {format: xml}"
    notes = dict(keyed(made(tmp_path, text)))

    assert "(got 200); is left out, so that it is 100" in notes["gitlab.rest_page_size"]
    assert "so that it is ':8080'" in notes["server.listen_address"]
    assert "so that it is 'text'" in notes["log.format"]


@pytest.mark.parametrize("url", ["git.acme.test", "[a]", "ftp://git.acme.test", "${GITLAB_URL}"])
def test_an_address_that_is_none_stays_lest_the_token_is_sent_elsewhere(tmp_path: Path, url: str) -> None:
    found = made(tmp_path, f"gitlab: {{token: t, url: {url!r}}}")

    assert not found.loads
    assert yaml.safe_load(found.text)["sources"]["gitlab"]["url"] == url
    with pytest.raises(ConfigError, match=r"gitlab\.url"):
        loaded(tmp_path, found)
    assert told(found) == ["gitlab.url"]


@pytest.mark.parametrize(
    ("url", "now"),
    [
        ("https://git.test/api/v4", "https://git.test"),
        ("https://git.test/api/v4/", "https://git.test"),
        ("https://test/gitlab/api", "https://test/gitlab"),
    ],
)
def test_the_path_of_the_api_is_cut(tmp_path: Path, url: str, now: str) -> None:
    found = made(tmp_path, f"gitlab: {{token: t, url: '{url}'}}")

    assert yaml.safe_load(found.text)["sources"]["gitlab"]["url"] == now
    assert told(found) == ["gitlab.url"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("url", "https://me:pass-word@git.test"), ("url", "https://git.test?a=b"), ("ca_cert_path", "/nowhere.pem")],
)
def test_what_check_refuses_is_told_and_stays(tmp_path: Path, key: str, value: str) -> None:
    found = made(tmp_path, f"\ngitlab: {{token: t, {key}: '{value}'}}")

    assert (told(found), found.loads) == ([f"gitlab.{key}"], False)
    assert ":2: " in found.notes[0]
    assert "pass-word" not in found.notes[0]
    assert yaml.safe_load(found.text)["sources"]["gitlab"][key] == value


def test_an_empty_address_is_none(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {token: t, url: ''}")

    assert (found.notes, found.loads) == ((), True)


@pytest.mark.parametrize("entry", ["search: ab", "owner: {kind: tribe}", "owner: {name: 'a b'}", "owner: 5"])
def test_a_wildcard_without_its_choice_would_stand_for_more_and_goes_whole(tmp_path: Path, entry: str) -> None:
    found = made(tmp_path, f"{GITLAB}wildcards:\n- {{{entry}, archived: true}}\n- {{search: shop}}")

    (wildcard,) = loaded(tmp_path, found).config.sources["gitlab"].wildcards  # type: ignore[attr-defined]
    assert wildcard.search == "shop"
    assert "wildcards[0] is left out" in found.notes[0]


def test_of_a_project_with_a_wrong_value_the_rest_stays(tmp_path: Path) -> None:
    text = "projects:\n- name: alone\n- {name: a/b, refs: {branches: {regexp: '(', most_recent: 3}}}\n- {name: a/c, refs: 5}"
    found = made(tmp_path, GITLAB + text)
    first, second = loaded(tmp_path, found).config.sources["gitlab"].projects  # type: ignore[attr-defined]

    assert (first.name, first.refs.branches.most_recent, second.name) == ("a/b", 3, "a/c")
    assert told(found) == ["projects[0].name", "projects[1].refs.branches.regexp", "projects[2].refs"]
    assert [note.split(":")[1] for note in found.notes] == ["3", "4", "5"]


def test_what_is_on_one_line_is_told_in_its_order(tmp_path: Path) -> None:
    text = "{projects: [{name: a/b, refs: {tags: {most_recent: -1}}}, {name: a/c, colour: red}], gitlab: {token: t, x: 1}}"
    found = made(tmp_path, text)

    assert told(found) == ["projects[0].refs.tags.most_recent", "projects[1].colour", "gitlab.x"]


def test_variables_are_told_in_their_order_and_their_entries_in_theirs(tmp_path: Path) -> None:
    projects = '[{"name": "a/b", "refs": 5}, {"name": "a/c", "colour": "red"}]'
    found = made(tmp_path, GITLAB, AGE_PROJECTS=projects, AGE_LOG_FORMAT="xml", AGE_NONSENSE="1")

    assert told(found) == ["AGE_LOG_FORMAT", "AGE_NONSENSE", "AGE_PROJECTS", "AGE_PROJECTS"]
    assert [text.partition(":")[0] for key, text in keyed(found)[2:]] == ["projects[0].refs", "projects[1].colour"]


def test_one_value_is_a_list_of_it(tmp_path: Path) -> None:
    text = "project_defaults: {refs: {merge_requests: {states: opened}}}\ncollectors: {dora: {environment_tiers: 'a, b'}}"
    options = source(tmp_path, GITLAB + text + "\nprojects: {name: a/b}")

    assert options.project_defaults.refs.merge_requests.states == ("opened",)
    assert options.collectors.dora.environment_tiers == ["a", "b"]
    assert [project.name for project in options.projects] == ["a/b"]


def test_the_bucket_of_everything_else_is_not_named(tmp_path: Path) -> None:
    options = source(tmp_path, GITLAB + "collectors: {jobs: {histogram_buckets: [5, .inf]}}")

    assert options.collectors.jobs.histogram_buckets == (5.0,)


def test_digits_are_a_token_too_and_not_told(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {token: 1234567}")

    assert loaded(tmp_path, found).config.sources["gitlab"].token.reveal() == "1234567"  # type: ignore[attr-defined]
    assert told(found) == ["gitlab.token"]
    assert "1234567" not in found.notes[0]


def test_a_reference_to_a_variable_is_told(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {token: '${GITLAB_TOKEN}'}\nserver: {webhook: {secret_token: $HOOK}}")

    assert told(found) == ["gitlab.token", "server.webhook.secret_token"]


def test_empty_variables_say_nothing(tmp_path: Path) -> None:
    names = ("GITLAB_URL", "GITLAB_TOKEN", "LOG_LEVEL", "COLLECTORS_DORA_ENABLED", "REDIS_URL", "NONSENSE")
    found = made(tmp_path, GITLAB, **{f"AGE_{name}": "" for name in names}, AGE_SERVER_LISTEN_ADDRESS=" ")

    assert found == made(tmp_path, GITLAB)
    assert found.notes == ()


def test_a_variable_that_does_not_fit_is_told_by_its_name(tmp_path: Path) -> None:
    variables = {"AGE_GITLAB_REST_PAGE_SIZE": "many", "AGE_PROJECTS": "[{", "AGE_WILDCARDS": '[{"search": "ab"}]'}
    found = made(tmp_path, GITLAB + "projects: [{name: a/b}]", **variables)

    assert sorted(told(found)) == sorted(variables)
    assert "wildcards[0].search" in dict(keyed(found))["AGE_WILDCARDS"]
    assert len(loaded(tmp_path, found).config.sources["gitlab"].projects) == 1  # type: ignore[attr-defined]


def test_a_variable_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="AGE_GITLAB_URL: is not UTF-8"):
        made(tmp_path, GITLAB, AGE_GITLAB_URL="https://git.test/\udce4")


def test_keys_of_cipush_are_none_of_the_other_program(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {type: host, webhook: {enabled: true}, token: t}")

    assert told(found) == ["gitlab.type", "gitlab.webhook"]
    assert "write server.webhook" in found.notes[1]


def test_line_ends_and_marks_of_windows_change_nothing(tmp_path: Path) -> None:
    text = "gitlab:\n  token: t\n  rest_page_size: 50\nlog:\n  level: warn\n"
    file = tmp_path / "windows.yml"
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert imported(file, {}) == made(tmp_path, text)


def test_aliases_and_merges_are_what_they_stand_for(tmp_path: Path) -> None:
    text = "project_defaults: {refs: {tags: &a {regexp: ^r, most_recent: 2}, branches: {<<: *a, regexp: ^b}}}"
    refs = source(tmp_path, GITLAB + text).project_defaults.refs

    assert (refs.branches.regexp, refs.branches.most_recent) == ("^b", 2)


@pytest.mark.parametrize("text", ["a: " + "[" * 1000 + "]" * 1000, "a: &a [*a]", "x: " + "a" * (1 << 20)])
def test_what_is_too_deep_or_too_large_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"old\.yml.*make it smaller"):
        made(tmp_path, text)


def test_every_key_that_is_there_twice_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        made(tmp_path, "log: {level: info, level: warn}\ngitlab:\n  token: a\n  token: b")

    assert [problem.partition(": ")[2].partition(":")[0] for problem in raised.value.problems] == ["log.level", "gitlab.token"]


def test_there_is_an_end_to_what_is_told(tmp_path: Path) -> None:
    found = made(tmp_path, "gitlab: {token: t}\nwildcards:\n" + "- {colour: red, size: big}\n" * (MAX_NOTES // 2 + 3))

    assert len(found.notes) == MAX_NOTES + 1
    assert found.notes[-1].startswith("6 more")


def test_keys_are_told_without_what_moves_a_terminals_cursor(tmp_path: Path) -> None:
    (note,) = made(tmp_path, 'gitlab: {"\\e[31mx": 1}').notes

    assert note.isprintable()


SECRET = "glpat-" + "s3cr3t" * 3


@pytest.mark.parametrize(
    "text",
    [
        f"gitlab: {{token: [{SECRET}]}}",
        f"gitlab: {{token: {SECRET}, url: {SECRET}}}",
        f"gitlab: {SECRET}",
        f"projects: [{SECRET}]",
        f"server: {{webhook: {{secret_token: {{a: {SECRET}}}}}}}",
        f"log: {{level: {SECRET}}}",
        f"gitlab: {{url: 'http//me:{SECRET}@git.test'}}",
        f"redis: {{url: 'redis://me:{SECRET}@cache'}}",
        f"gitlab:\n  token: *{SECRET}",
        f"gitlab:\n  token: !{SECRET} a",
    ],
)
def test_a_secret_is_in_no_note(tmp_path: Path, text: str) -> None:
    file = tmp_path / "old.yml"
    file.write_text(text)
    result = CliRunner().invoke(main, ["config", "import", str(file)])

    assert result.stderr
    assert SECRET not in result.stderr


def test_the_verb_reads_standard_input() -> None:
    result = CliRunner().invoke(main, ["config", "import", "-"], input="gitlab: {token: t, rest_page_size: 0}")

    assert result.exit_code == 0
    assert yaml.safe_load(result.stdout)["sources"]["gitlab"] == {"token": "t"}
    assert result.stderr.startswith("-:1: gitlab.rest_page_size: ")


def test_the_verb_ends_with_78_where_the_result_does_not_load() -> None:
    result = CliRunner().invoke(main, ["config", "import", "-"], input="gitlab: {token: t, url: git.test}")

    assert result.exit_code == 78
    assert yaml.safe_load(result.stdout)["sources"]["gitlab"]["url"] == "git.test"


def test_the_verb_takes_nothing_for_wrong_usage() -> None:
    result = CliRunner().invoke(main, ["config", "import"], env={"AGE_LOG_LEVEL": None})

    assert (result.exit_code, result.stdout) == (2, "")
    assert "name a file" in result.stderr


PIECES: Any = {
    "log": {"level": None, "format": None},
    "server": {"listen_address": None, "webhook": {"enabled": None, "secret_token": None}},
    "gitlab": dict.fromkeys(("url", "token", "enable_tls_verify", "max_requests_per_second", "rest_page_size")),
    "collectors": {"jobs": dict.fromkeys(("enabled", "histogram_buckets")), "dora": {"environment_tiers": None}},
    "project_defaults": {"refs": {"branches": dict.fromkeys(("regexp", "most_recent")), "merge_requests": {"states": None}}},
    "projects": [{"name": None, "refs": {"branches": {"regexp": None}}}],
    "wildcards": [{"owner": dict.fromkeys(("name", "kind")), "search": None, "archived": None}],
}
ODD = st.one_of(
    *(st.none(), st.booleans(), st.integers(-1, 300), st.floats(), st.dates(), st.text("(a/:[]\\z?", max_size=6)),
    st.sampled_from(
        ["a/b", "main", "opened", ":80", "https://x", "http://x/api/v4", "${A}", "text", "warn", ["opened"], [{}], {}]
    ),
    st.lists(st.integers(0, 3) | st.text("ab", max_size=3), max_size=3),
)


def odd(pieces: Any) -> st.SearchStrategy[Any]:
    """The same sections, some left out, with values of any kind; now and then no section."""
    if isinstance(pieces, list):
        return st.lists(odd(pieces[0]), max_size=3) | ODD
    if pieces is None:
        return ODD
    whole = st.fixed_dictionaries({}, optional={key: odd(inner) for key, inner in pieces.items()})
    return st.one_of(whole, whole, whole, ODD) if pieces is not PIECES else whole


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of regular expressions that mean something else one day
@settings(max_examples=25, deadline=None)
@given(odd(PIECES))
def test_the_result_loads_or_is_said_not_to(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    file, result = tmp_path_factory.getbasetemp() / "odd.yml", tmp_path_factory.getbasetemp() / "cipush.yml"
    file.write_text(yaml.safe_dump(data))
    found = imported(file, {})
    result.write_text(found.text)

    assert found.loads is loads([result])


def loads(files: list[Path]) -> bool:
    """As `cipush check` sees it."""
    try:
        options = load(files, {}).config.sources.get("gitlab") or Options.model_validate({})
        build("gitlab", options, Context(lambda: 0.0, "", "", ""))  # type: ignore[arg-type]
    except ConfigError:
        return False
    return True


def test_what_is_open_is_read_in_the_place_of_a_file() -> None:
    assert imported(Path("-"), {}, io.BytesIO(b"log: {level: debug}")).text.count("debug") == 1
