# make setup      a virtual environment in .venv with everything the tests need
# make test       set up, lint, types, tests, coverage
# make demo       see samples of this host arrive in a receiver
# make format     let ruff rewrite what it can
# make generate   regenerate the classes of proto/*.proto
# make docs       regenerate the reference pages of docs/
# make bench      the benchmarks of tests/bench, one table each
# make soak       the proofs at length, some hours: an outage of ten minutes, 500 kills, random faults of every real
#                 receiver with a look for leaks, a week of GitHub and of GitLab in each way; SOAK="--minutes 600 --seed 1"
#                 sets how long, SOAK="--gitlab-projects 100" how large

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin

.PHONY: setup test demo format generate docs bench soak clean
.DELETE_ON_ERROR:

setup: .venv/.tests .venv/.servers

# Stamps, so that a second run starts at once.
.venv/.agent: pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer on the PATH; install one or say make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { test "$$(id -u)" -eq 0 && command -v apt-get >/dev/null && \
		apt-get update -q && apt-get install -q -y --no-install-recommends python3-venv; } || \
		{ echo "$(PYTHON) cannot make virtual environments; install its venv module (Debian: python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

# Dependency groups need pip 25.1; Python 3.11 brings an older one.
.venv/.tests: .venv/.agent
	$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q --group test
	@touch $@

.venv/.servers: .venv/.agent .ci/servers
	bash .ci/servers
	@touch $@

test: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n 3 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder --cov agent --cov-fail-under=85

demo: .venv/.agent
	PATH="$(CURDIR)/$(BIN):$$PATH" sh deploy/demo.sh

format: .venv/.tests
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The virtual path agent/wire goes into the descriptors' file names, which must be ours in any process.
generate: .venv/.tests
	$(BIN)/python -m grpc_tools.protoc -Iagent/wire=proto --python_out=. --pyi_out=. \
		agent/wire/remote_write.proto agent/wire/remote_write2.proto

docs: .venv/.agent
	$(BIN)/python -m agent.config.docs > docs/configuration.md
	$(BIN)/cipush metrics > docs/metrics.md

bench: .venv/.tests
	@for bench in flush exposition scrape scrape_parse webhook github gitlab; do $(BIN)/python -m tests.bench.$$bench || exit 1; done

soak: setup
	$(BIN)/python -m tests.soak $(SOAK)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage dist build
