# `make install` needs git, Python 3.11-3.13 and make. Nothing needs root.
PYTHON ?= python3
BIN := .venv/bin
PIP_QUIET := PIP_DISABLE_PIP_VERSION_CHECK=1

.PHONY: install format lint lint-deploy test test-all bench demo lock images image-tags sbom audit clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] < (3, 14), f"Stentor needs Python 3.11, 3.12 or 3.13, this is {sys.version.split()[0]}. Run: make PYTHON=python3.12"'
	$(PYTHON) -m venv .venv
	$(PIP_QUIET) $(BIN)/python -m pip install --quiet --constraint constraints.txt pip
	$(PIP_QUIET) $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[local]' --group dev
	touch $@

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

# Checks what is deployed, with one tool per line.
lint-deploy: install
	$(BIN)/hadolint compose/Dockerfile
	$(BIN)/python -m tests.support.kubernetes
	cd compose/prometheus && promtool check config prometheus.yml && promtool check rules alerts.yml && promtool test rules alerts_test.yml
	cd compose && npm ci --silent && node_modules/.bin/dclint --max-warnings 0 compose*.yaml

# Tests run in two processes. Those that measure time then run alone.
test: SELECTED := not slow and
test test-all: install
	$(BIN)/pytest -m "$(SELECTED) not alone" --numprocesses=2 --dist=loadfile tests/unit tests/integration
	$(BIN)/pytest -m "$(SELECTED) not alone" --numprocesses=2 --dist=loadfile tests/e2e
	$(BIN)/pytest -m "$(SELECTED) alone" tests/e2e

bench: .venv-bench/installed
	.venv-bench/bin/python -m tests.bench $(BENCH)

.venv-bench/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	$(PIP_QUIET) .venv-bench/bin/python -m pip install --quiet --constraint constraints.txt pip
	grep -Ev '^(celery|kombu)==' constraints.txt > .venv-bench/constraints.txt
	$(PIP_QUIET) .venv-bench/bin/python -m pip install --quiet --constraint .venv-bench/constraints.txt \
		--editable '.[local]' --group dev --group peers
	touch $@

demo: install
	$(BIN)/python -m tests.demo

# Pins the newest versions that pyproject.toml allows, in constraints.txt and in the images' requirements.
lock:
	rm -rf .venv-lock
	$(PYTHON) -m venv .venv-lock
	$(PIP_QUIET) .venv-lock/bin/python -m pip install --quiet --upgrade pip
	$(PIP_QUIET) .venv-lock/bin/python -m pip install --quiet --editable '.[local]' --group dev
	{ head -n 1 constraints.txt; .venv-lock/bin/python -m pip freeze --all --exclude-editable | grep -v '^setuptools=='; } > constraints.new
	mv constraints.new constraints.txt
	$(PIP_QUIET) .venv-lock/bin/python -m pip install --quiet uv
	compose/requirements/lock.sh .venv-lock/bin/uv
	rm -rf .venv-lock

# IMAGES="api worker" builds only these. worker-gpu is built only if you name it.
images:
	compose/build.sh $(IMAGES)

image-tags:
	@$(PYTHON) compose/image_tags.py

# Lists what is in each image, as CycloneDX. Needs no network.
sbom: .venv-supply/installed
	mkdir -p sbom
	for room in api scheduler worker engine-piper engine-piper-gpu voice-joe; do \
		.venv-supply/bin/cyclonedx-py requirements --output-reproducible --of JSON \
			--output-file sbom/$$room.cdx.json compose/requirements/$$room.txt || exit 1; \
	done

# Lists known vulnerabilities in the images. Needs the advisory database of PyPI.
audit: .venv-supply/installed
	for room in api scheduler engine-piper engine-piper-gpu; do \
		.venv-supply/bin/pip-audit --strict --require-hashes --disable-pip --requirement compose/requirements/$$room.txt || exit 1; \
	done

.venv-supply/installed: pyproject.toml
	$(PYTHON) -m venv .venv-supply
	$(PIP_QUIET) .venv-supply/bin/python -m pip install --quiet --upgrade pip
	$(PIP_QUIET) .venv-supply/bin/python -m pip install --quiet --group supply
	touch $@

clean:
	rm -rf .venv .venv-bench .venv-lock .venv-supply sbom build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis demo-output bench-output
