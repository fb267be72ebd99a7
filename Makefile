# SPDX-License-Identifier: Apache-2.0
# Meson does the work; `make help` lists what there is.

build: fetch build/build.ninja
	@ninja -C build

fetch:
	@scripts/fetch third_party/duckdb

build/build.ninja:
	@meson setup build

.PHONY: build fetch
