# Two commands for newcomers: `make demo` and `make test`. Everything else is for developers.
SHELL := /bin/sh
PY := .venv/bin/python
RUN := .venv/bin
ARGS ?=
UNIT := not stack and not browser and not slow

.PHONY: help demo test check format stack bench clean venv servers generated

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.venv/.ready: pyproject.toml constraints.txt
	@sh deploy/bootstrap.sh
	@touch .venv/.ready

venv: .venv/.ready  ## the virtual environment

demo: .venv/.ready  ## the whole story on this machine; ARGS="--headless --json" for machines
	@$(RUN)/coalmine demo $(ARGS)

check: .venv/.ready  ## lint, types, layers, generated files, unit tests
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/coalmine dashboards check
	$(RUN)/coalmine docs check
	$(RUN)/pytest -q -n 2 -m "$(UNIT)"

servers: .venv/.ready  ## the real servers of the tests, built once into a cache
	$(PY) deploy/stack/servers.py install

test: check servers  ## everything: check, then the tests that need servers and a browser
	$(RUN)/pytest -q -n 4 --dist loadgroup --no-loadscope-reorder -m "not ($(UNIT))"

stack: .venv/.ready servers  ## a real Collector, Loki, Prometheus, Jaeger, watched by coalmine run
	$(PY) deploy/stack/stack.py $(ARGS)

bench: .venv/.ready servers  ## figures against peers, side by side
	$(PY) -m benchmarks $(ARGS)

generated: .venv/.ready  ## rebuild what is generated: boards, rules, reference pages
	$(RUN)/coalmine dashboards build
	$(RUN)/coalmine docs build

format: .venv/.ready  ## rewrite the code's layout
	$(RUN)/ruff format .
	$(RUN)/ruff check --fix .

clean:  ## remove what was made in this folder
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
