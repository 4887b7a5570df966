.PHONY: help setup check lint types layers test demo bench chaos sync docs lock

RUN = python3 run.py

help:                 ## what can be made here
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | expand -t 12

check: lint layers types test  ## everything CI runs

setup:                ## make .venv and install everything into it
	@$(RUN) install

test:                 ## every test, on all cores
	@$(RUN) test

lint:                 ## format and lint
	@$(RUN) ruff format --check -q .
	@$(RUN) ruff check -q .

types:                ## pyright, strict
	@$(RUN) pyright

layers:               ## imports flow one way
	@$(RUN) lint-imports

demo:                 ## a flow on an embedded Postgres, here and now
	@$(RUN) demo

bench:                ## throughput beside the floor of bare SQL
	@$(RUN) python -m bench.throughput --save bench/results/latest.json

chaos:                ## kill workers, connections and Postgres; nothing may be lost
	@$(RUN) test tests/chaos -m "chaos or not chaos"

sync:                 ## write the blocking client anew, out of the other one
	@$(RUN) python -m tools.sync

docs:                 ## generate the reference, and build the site into ./site
	@$(RUN) python -m tools.reference
	@$(RUN) mkdocs build --strict -q -d site

lock:                 ## pin requirements.lock anew (needs uv)
	uv pip compile -q --universal --generate-hashes --no-header --extra dev \
	    pyproject.toml -o requirements.lock
