# agor: build, show, test, install. `make help` lists the targets.

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
MUSL    := $(shell uname -m)-unknown-linux-musl
OUT     := target/agor
TOOLS   := agor-supervise agor-sandbox btmsg agor-checkpoint agor-relay

.PHONY: help build demo test lint doc bench soak pages install uninstall clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## the five tools, optimised, in target/agor/bin
	@CARGO="$(CARGO)" MUSL="$(MUSL)" OUT="$(OUT)" packaging/build $(TOOLS)

demo: build ## the main job, end to end, each step checked
	@AGOR_BIN="$(CURDIR)/$(OUT)/bin" examples/demo

test: ## everything: format, lints, docs, scripts, manual, all tests
	@CARGO="$(CARGO)" tests/run

bench: build ## every tool beside its peers, one table
	@AGOR_BIN="$(CURDIR)/$(OUT)/bin" tests/bench/run

pages: ## write the generated parts: manual pages and completions
	$(CARGO) run --quiet -p agor-tests --bin agor-pages -- write

install: build ## into PREFIX (default /usr/local), staged below DESTDIR
	@OUT="$(OUT)" PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install $(TOOLS)

uninstall: ## remove what install put there
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install --remove $(TOOLS)

clean: ## remove what was built
	$(CARGO) clean
