# SPDX-License-Identifier: Apache-2.0
# Meson does the work underneath; `make help` lists the targets.

PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
export FUZZ_SECONDS
export SEED FAULTS FLOWS LONGEST ONLY NOT

build: ## install what the build needs, build programs and browser application
	@scripts/install-deps build
	@$(MAKE) --no-print-directory programs web

programs: ## the programs only, into build/
	@scripts/compile build

web: ## the browser application only, into web/dist/
	@if [ -f web/package.json ]; then scripts/build-web; fi

check: ## install what the tests need, build, run every test
	@scripts/install-deps build check
	@python3 scripts/check

run: ## start a hub and a probe on this machine, print the link to open
	@scripts/run

fresh: ## prove check and run on a minimal Debian 12 in a temporary folder (root)
	@test/fresh.sh

bench: ## measure, side by side with what one would use instead
	@scripts/install-deps build bench
	@$(MAKE) --no-print-directory programs
	@ninja -C build --quiet bench/feed bench/exporter bench/crowd bench/deliver bench/blast
	@bench/run

fault: ## the fault campaign (root); SEED= FAULTS=100 FLOWS=1000000 LONGEST=60 ONLY='frozen;clock'
	@scripts/install-deps build check
	@$(MAKE) --no-print-directory programs
	@test/fault/run

corpus: ## all captures of the corpus beside the repository, not one in four: tshark, sanitizers
	@scripts/install-deps build check
	@$(MAKE) --no-print-directory programs
	@scripts/check sanitized
	@WEIR_CORPUS=all test/run golden-tshark sanitize-corpus

lint: ## clang-tidy with an analysis that follows every path as far as it can
	@scripts/install-deps build check
	@WEIR_LINT_DEEP=1 scripts/check lint

fuzz: ## each fuzz target for FUZZ_SECONDS (60)
	@scripts/install-deps build check
	@scripts/fetch third_party/duckdb
	@scripts/fuzz

install: ## into DESTDIR/PREFIX: programs, man pages, browser application, units, samples
	@$(MAKE) --no-print-directory programs web
	@meson configure build -Dprefix=$(PREFIX) >/dev/null
	@scripts/compile build
	@DESTDIR="$(DESTDIR)" meson install -C build --quiet --no-rebuild

docs: ## write the generated pages under docs/reference again
	@$(MAKE) --no-print-directory programs
	@scripts/docs

format: ## clang-format on every C file
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean: ## remove what was built; downloads stay
	@rm -rf build build-* web/dist

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done

.PHONY: build programs web check run fresh bench fault corpus lint fuzz install docs format clean help
