# agor: build, show, test, install. `make help` lists the targets.

PREFIX  ?= /usr/local
DESTDIR ?=
CARGO   ?= cargo
MUSL    := $(shell uname -m)-unknown-linux-musl
OUT     := target/agor
TOOLS   := agor-supervise agor-sandbox btmsg agor-checkpoint agor-relay

.PHONY: help build demo test bench soak kernels pages install uninstall deb deb-check tour clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## the five tools, optimised, in target/agor/bin
	@CARGO="$(CARGO)" MUSL="$(MUSL)" OUT="$(OUT)" packaging/build $(TOOLS)

demo: build ## the main job, end to end, each step checked
	@AGOR_BIN="$(CURDIR)/$(OUT)/bin" examples/demo

test: ## everything: format, lints, docs, scripts, manual, all tests
	@CARGO="$(CARGO)" tests/run

bench: build ## every tool beside its peers, one table
	@AGOR_BIN="$(CURDIR)/$(OUT)/bin" tests/bench/run

soak: ## the pipeline under random faults for SECONDS (default 3600); SEED=n replays
	@"$(CARGO)" build --quiet --locked --workspace --bins
	@AGOR_FAULT_SECONDS="$(or $(SECONDS),3600)" $(if $(SEED),AGOR_FAULT_SEED="$(SEED)") \
		"$(CARGO)" test --locked --package agor-tests --test pipeline_faults -- --nocapture

kernels: ## agor-sandbox in qemu on kernels from 5.10 to the newest, x86_64 and aarch64 (wants qemu, Debian's archive)
	@CARGO="$(CARGO)" MUSL="$(MUSL)" OUT="$(OUT)" packaging/build agor-sandbox
	@CARGO="$(CARGO)" AGOR_BIN="$(CURDIR)/$(OUT)/bin" tests/kernels/run

pages: ## write the generated parts: manual pages and completions
	$(CARGO) run --quiet -p agor-tests --bin agor-pages -- write

install: build ## into PREFIX (default /usr/local), staged below DESTDIR
	@OUT="$(OUT)" PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install $(TOOLS)

uninstall: ## remove what install put there
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" packaging/install --remove $(TOOLS)

deb: build ## a Debian package of all five, target/agor/agor.deb (wants cargo-deb)
	@CARGO="$(CARGO)" OUT="$(OUT)" packaging/deb/build $(TOOLS)

deb-check: deb ## install it into a fresh Debian root, run the demo there, purge it (wants root, debootstrap)
	@packaging/check-deb "$(OUT)/agor.deb"

tour: build ## record docs/tour.md anew
	@AGOR_BIN="$(CURDIR)/$(OUT)/bin" docs/record-tour

clean: ## remove what was built
	$(CARGO) clean
