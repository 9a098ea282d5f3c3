#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What libsonde.so exports is exactly instrumentation/exported-symbols.txt: a symbol that vanishes or appears is a
# change of the ABI, and is to be seen in a review. (symbols.py compares with the headers.)
# usage: exported_symbols.sh ROOT LIBSONDE.so
set -eu
nm -D --defined-only "$2" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | LC_ALL=C sort |
    diff -u "$1/instrumentation/exported-symbols.txt" -
