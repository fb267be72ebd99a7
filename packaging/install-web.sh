#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run by meson install: the browser application, when it has been built.
set -eu
dist=$MESON_SOURCE_ROOT/web/dist
[ -f "$dist/index.html" ] || exit 0
target=$MESON_INSTALL_DESTDIR_PREFIX/share/weir/web
rm -rf "$target"
mkdir -p "$target"
cp -R "$dist/." "$target/"
