# make demo: all four pipelines over the bundled samples, on this machine. make test: everything that is tested.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUN ?= data/runs/demo
LAUNCH = $(BIN)/shardmill launch
REPORT = $(BIN)/shardmill report

.PHONY: demo test test-browser test-models test-slurm lint types bench samples lock clean

demo: $(VENV)/core.stamp
	$(LAUNCH) negbench --input data/samples/captions.csv --run $(RUN) --num-shards 8 --workers 2
	$(LAUNCH) antidote --input data/samples/antidote.json --run $(RUN)-antidote --min-words 8 --total 12000 --num-shards 4 --workers 2
	$(LAUNCH) recaption --input data/samples/captions.csv --run $(RUN)-recaption --num-shards 4 --workers 2
	$(LAUNCH) anyedit --input data/samples/anyedit.csv --run $(RUN)-anyedit --num-shards 4 --workers 2
	@for run in $(RUN) $(RUN)-antidote $(RUN)-recaption $(RUN)-anyedit; do $(REPORT) $$run || exit 1; done
	@printf '%s\n' '' \
	  'Look at the data:    open $(RUN)/report/report.html in a browser (the other runs have one, too)' \
	  'Follow one row:      $(BIN)/shardmill explain $(RUN) 42' \
	  'See the prompts:     $(BIN)/shardmill preview negbench' \
	  'Use your own table:  $(BIN)/shardmill launch negbench --input captions.csv --run data/runs/first' \
	  'Read on:             README.md; all commands: $(BIN)/shardmill --help'

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/slurm --ignore tests/models --ignore tests/browser
	$(MAKE) test-browser
	$(MAKE) test-models
	$(MAKE) test-slurm

# Real engines with tiny models on the CPU, in an environment of its own (3 GB): vLLM, its server, transformers. Linux on x86-64.
test-models: $(VENV)-models
	$(VENV)-models/bin/python -m pytest -n 2 --dist loadfile tests/models

# Every text stage with a small trained model through three backends, ROWS rows of each sample: prints the table of tests/README.md.
ROWS ?= 60
.PHONY: test-real
test-real: $(VENV)-models
	$(VENV)-models/bin/python tests/real/measure.py --rows $(ROWS)

# The pages in headless Chromium, which is installed if need be (as root on Debian).
test-browser: $(VENV)/test.stamp
	$(BIN)/python -m pytest tests/browser

# Brings up small SLURM clusters of its own, which needs root on Debian 12; says so where it cannot. It waits more than it works.
test-slurm: $(VENV)/test.stamp $(VENV)-models
	$(BIN)/python -m pytest -n 4 --dist load --maxschedchunk 1 tests/slurm

# What a model learns from the data: draws pictures, runs NegBench, trains and tests, in eight minutes of CPU time; see tests/README.md.
TEACH ?= data/runs/teach
.PHONY: teach
teach: $(VENV)-models
	PYTHONPATH=python:tests $(VENV)-models/bin/python -m teach --folder $(TEACH)

# Does nothing when it is as it should be.
.PHONY: crash $(VENV)-models
$(VENV)-models:
	PYTHON=$(PYTHON) tests/models/environment/make_env.sh $@

# Every file-system call of every command that writes: killed at, power lost at, failing, and two at once. Then different commands
# at once, killed, terminated and suspended. Then chaos on SLURM.
crash: $(VENV)/test.stamp
	PYTHONPATH=tests $(BIN)/python -m crash.explore
	PYTHONPATH=tests $(BIN)/python -m crash.meetings --trials 1000
	PYTHONPATH=tests $(BIN)/python -m slurm.chaos --minutes 10

# Hostile input for SECONDS a target (see tests/fuzz); with atheris, where it installs, which is steered by the code that is reached.
SECONDS ?= 60
.PHONY: fuzz
fuzz: $(VENV)/test.stamp
	-$(PIP) install --quiet --only-binary :all: atheris
	$(BIN)/python tests/fuzz/fuzz.py all --seconds $(SECONDS)

# Style, that imports run one way, and that what is imported is declared.
lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/deptry python

# Which lines of the package the unit and pipeline tests reach.
.PHONY: coverage
coverage: $(VENV)/test.stamp
	$(PIP) install --quiet pytest-cov
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/unit tests/pipelines --cov shardmill --cov-report term --cov-report html:data/coverage

types: $(VENV)/test.stamp
	$(BIN)/mypy

# The quick set of all benches, with one table at the end: quality and speed of the embedded models, and of the table work beside
# pandas and beside the originals' own way.
bench: $(VENV)/test.stamp
	$(BIN)/python tests/bench/table.py

# Shardmill beside its peers, each in an environment of its own under PEERS (3 GB from PyPI): cost per row, and what faults cost.
PEERS ?= /tmp/shardmill-peers
.PHONY: bench-peers
bench-peers: $(VENV)/test.stamp
	PYTHON=$(PYTHON) tests/bench/peers/install.sh $(PEERS)
	$(BIN)/python tests/bench/peers/run.py --scratch $(PEERS)

# Draws the images of the bundled sample again.
samples: $(VENV)/core.stamp
	$(BIN)/python data/samples/draw_images.py

# Writes the lock files anew from pyproject.toml.
lock: $(VENV)/test.stamp
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra report --universal --python-version 3.10 --generate-hashes --no-header --no-annotate -q -o env/core.lock
	$(BIN)/uv pip compile pyproject.toml --extra report --group dev --universal --python-version 3.10 --generate-hashes --no-header --no-annotate -q -o env/test.lock
	for extra in vllm vision; do $(BIN)/uv pip compile pyproject.toml --extra $$extra --python-version 3.11 \
	  --python-platform x86_64-manylinux_2_28 --generate-hashes --no-header --no-annotate -q -o env/$$extra.lock || exit 1; done
	$(MAKE) licences

# Lists the licences of all locked packages in env/README.md.
.PHONY: licences
licences:
	$(PYTHON) -m venv $(VENV)-licences
	$(VENV)-licences/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-licences/bin/python env/licences.py

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Shardmill needs Python 3.10 or later; name one: make PYTHON=python3.11 demo")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/core.stamp: $(VENV)/made.stamp env/core.lock pyproject.toml
	$(PIP) install --quiet --require-hashes -r env/core.lock
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(VENV)/test.stamp: $(VENV)/core.stamp env/test.lock
	$(PIP) install --quiet --require-hashes -r env/test.lock
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-models $(VENV)-licences data/runs
