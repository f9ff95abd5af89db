# Every target sets up what it needs, in a fresh clone too; a second run finds it done. Prerequisites: git, make and
# Python 3.11 with venv, on Debian or Ubuntu.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
RELEASE ?= 2.3
ENV := .venv
BIN := $(ENV)/bin
OLD_FRONTEND := $(ENV)/frontends/1.35.9

.PHONY: demo test lint bench comfyui

demo: $(ENV)/.ready
	$(BIN)/ltx2 demo .demo/$(RELEASE) --release $(RELEASE)

test: $(ENV)/.ready $(OLD_FRONTEND)/.ready chromium
	$(BIN)/pytest

lint: $(ENV)/.ready
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --level error

bench: $(ENV)/.ready
	$(BIN)/python benchmarks/run.py

# Needs a network that reaches GitHub. ComfyUI gets an environment of its own and the pack as a link, and
# COMFYUI_DIR=.comfyui/ComfyUI tells tests/comfyui where it is.
ACCELERATOR ?= cpu
COMFY := .comfyui/env/bin/comfy
comfyui: .comfyui/env/.ready
	test -d .comfyui/ComfyUI || VIRTUAL_ENV="$(CURDIR)/.comfyui/env" $(COMFY) --skip-prompt --no-enable-telemetry \
		--workspace "$(CURDIR)/.comfyui/ComfyUI" install --$(ACCELERATOR)
	.comfyui/env/bin/pip install --quiet -r requirements.txt
	ln -sfn "$(CURDIR)" .comfyui/ComfyUI/custom_nodes/comfyui-ltx2
	@echo "ready: $(COMFY) --workspace $(CURDIR)/.comfyui/ComfyUI launch"

.comfyui/env/.ready:
	$(PYTHON) -m venv .comfyui/env
	.comfyui/env/bin/pip install --quiet comfy-cli==1.23.0
	touch $@

# torch comes first and alone: its release decides what else fits, and a later step must find it present.
$(ENV)/.ready: pyproject.toml setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(ENV)
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt setuptools
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

# The frontend of the oldest ComfyUI that is supported. Its tests run beside those of the newest, in the environment.
$(OLD_FRONTEND)/.ready: | $(ENV)/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) \
		comfyui-frontend-package==$(notdir $(@D))
	touch $@

# Browser tests drive Debian's Chromium. Where it cannot be installed they skip, and say why.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
		if [ "$$(id -u)" = 0 ]; then as_root=""; \
		elif sudo -n true 2>/dev/null; then as_root="sudo -n"; \
		else echo "chromium is missing and only root can install it: browser tests will skip"; exit 0; fi; \
		$$as_root apt-get update -qq && \
		$$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; }
