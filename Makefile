# manyhands: the only entry a person needs. `make` prints what there is.
#
# Every target does the set-up it needs by itself: a virtual environment, the tools in it, the build. PYTHON=... picks
# another interpreter, for which all of that is kept apart.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PYTHON
SETUP := tools/setup
SHELL := /bin/sh
HTML ?= compare.html
# more words for the program that a target runs: make test ARGS='-k lock'
ARGS ?=

.PHONY: help
help: ## print this list
	@echo 'make TARGET [PYTHON=python3.12] [ARGS=...]'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/    \1\t\2/p' Makefile | expand -t 17

.PHONY: run
run: ## threads or processes? the comparison on this machine, with a page in compare.html
	@$(SETUP) doctor
	@venv=$$($(SETUP) venv base compare progress) && site=$$($(SETUP) build) && \
	PYTHONPATH=$$site $$venv/bin/python -m manyhands compare --html $(HTML) $(ARGS)

.PHONY: build
build: ## build for PYTHON; the last line printed is the folder that goes on sys.path
	@$(SETUP) build

.PHONY: test
test: ## all tests: C, Python, examples, contracts (ARGS for pytest)
	@tools/run_tests all $(ARGS)

.PHONY: check
check: ## the fast tests and lint: seven minutes, most of them for 2,600 tests of Python
	@tools/run_tests fast $(ARGS)

.PHONY: test-python
test-python: ## the Python tests alone, for PYTHON (ARGS for pytest)
	@tools/run_tests python $(ARGS)

.PHONY: stress
stress: ## lost wake-ups, lost or doubled items, fairness, forks, broken twins: SCALE=10 runs ten times as long
	@MANYHANDS_STRESS=$(or $(SCALE),10) TEST_LIMIT=$(or $(TEST_LIMIT),7200) tools/run_tests python tests/py/stress $(ARGS)

.PHONY: crash-matrix
crash-matrix: ## kill a process at every trace point of every operation: the table of what became of it
	@site=$$($(SETUP) build) && $$($(SETUP) python) tools/crash_matrix.py "$$(dirname "$$site")"

.PHONY: soak
soak: ## kill processes at random that use all shared things, and compare the books: MINUTES=10 KILLS=10000 SEED=7
	@venv=$$($(SETUP) venv build base test) && site=$$($(SETUP) build) && \
	PYTHONPATH=$$site $$venv/bin/python tests/py/crash/soak.py --minutes $(or $(MINUTES),1) \
	$(KILLS:%=--kills %) $(SEED:%=--seed %) $(ARGS)

.PHONY: chaos
chaos: ## a million small tasks of a pool and of an executor while workers are killed at random: TASKS= KILLS= SEED=
	@venv=$$($(SETUP) venv build base test) && site=$$($(SETUP) build) && \
	for engine in pool executor; do PYTHONPATH=$$site $$venv/bin/python tests/py/crash/chaos_pool.py --engine $$engine \
	--tasks $(or $(TASKS),1000000) --kills $(or $(KILLS),1000) $(SEED:%=--seed %) $(ARGS) || exit 1; done

.PHONY: conformance
conformance: ## CPython's own tests on manyhands: SUITES='queue mp_fork' picks some, ARGS for the runner (ARGS=--help)
	@venv=$$($(SETUP) venv build base) && site=$$($(SETUP) build) && mkdir -p build/with && \
	ln -sfn $$(cd $$venv && pwd)/lib/python3*/site-packages/cloudpickle build/with/ && \
	$$($(SETUP) python) tests/py/conformance --python $$($(SETUP) python) --subject-path $$site --subject-path build/with \
	$(if $(filter strict,$(MANYHANDS_COMPAT)),,--deliberate tests/py/conformance/deliberate.txt) \
	$(SUITES:%=--suite %) -j 2 $(ARGS)

.PHONY: bench
bench: ## ours beside its peers: ONLY='thread/*' picks rows, JSON=file keeps the figures, ARGS=--check judges
	@venv=$$($(SETUP) venv base bench) && site=$$($(SETUP) build release) && \
	PYTHONPATH=$$site $$venv/bin/python -m bench $(if $(ONLY),--only '$(ONLY)') $(if $(JSON),--json '$(JSON)') $(ARGS)

.PHONY: lint
lint: ## formatting, static analysis, types, layers, contracts
	@tools/run_lint all

.PHONY: format
format: ## rewrite C and Python files in the project's format
	@tools/run_lint format

.PHONY: sanitize
sanitize: ## the C tests under ASan with UBSan, then under TSan, a selection under valgrind where it is there; QUICK=1: in 3 minutes
	@rc=0; for name in address,undefined thread; do $(SETUP) sanitize $$name $(if $(QUICK),quick) || rc=1; done; \
	$(if $(QUICK),true,$(SETUP) memcheck) || rc=1; exit $$rc

.PHONY: faults
faults: ## every C test with each call that the system can refuse refused in turn, under ASan: STEP=20 skips, WHOLE=1000 from there on (ARGS: lock pool)
	@$(if $(STEP),T_FAULT_STEP=$(STEP)) $(if $(WHOLE),T_FAULT_WHOLE=$(WHOLE)) $(SETUP) faults $(ARGS)

.PHONY: docs-c
docs-c: ## the C reference from the headers, in build/reference: man pages (man -l .../mh_channel_put.3) and Markdown
	@$$($(SETUP) python) tools/man_pages.py build/reference

.PHONY: docs
docs: ## the guide and the reference as a site in build/docs/site; QUICK=1 takes the kept figures
	@venv=$$($(SETUP) venv build base progress compare numpy docs) && site=$$($(SETUP) build) && \
	PYTHONPATH=$$site $$venv/bin/python tools/docs/build.py $(if $(QUICK),--quick)

.PHONY: docs-look
docs-look: docs ## the built site in a browser: two widths, contrast, keyboard; pictures in build/docs/look (chromium)
	@$$($(SETUP) python) tools/docs/look.py

.PHONY: links
links: ## every link that leads out of the project is asked: what has moved, what is gone (needs a network)
	@$$($(SETUP) python) tools/docs/links.py $(ARGS)

.PHONY: newcomer
newcomer: ## the path of a newcomer with a clock: clone, README's first command, one's own function compared; LIMIT=300
	@$$($(SETUP) python) tools/docs/newcomer.py $(or $(LIMIT),300)

.PHONY: model
model: ## SPIN explores the models of tests/model, and catches each broken variant
	@tests/model/run

.PHONY: portable
portable: ## the C tests with clang, with musl, and for aarch64 under qemu
	@$(SETUP) portable

.PHONY: fuzz
fuzz: ## libFuzzer on segments, named files, channels, blocks, lock words and the inline encoding: SECONDS=600 for each (clang)
	@$(SETUP) fuzz $(or $(SECONDS),60)

.PHONY: coverage
coverage: ## lines and branches of core/ that the C tests reach
	@$(SETUP) coverage 95 85

.PHONY: wheel
wheel: ## a wheel in dist/, as pip would build it
	@venv=$$($(SETUP) venv build) && $$venv/bin/python -m pip wheel -q --no-deps -w dist . && ls dist

.PHONY: venv
venv: ## the virtual environment with all tools; prints its folder
	@$(SETUP) venv build base test all lint

.PHONY: doctor
doctor: ## say what this machine lacks, and which package has it
	@$(SETUP) doctor && echo 'nothing is missing'

.PHONY: clean
clean: ## remove everything that was built, and the virtual environments
	@rm -rf build .venv dist compare.html .pytest_cache .mypy_cache .ruff_cache
	@find bench examples python tests tools -name __pycache__ -prune -exec rm -rf {} +
