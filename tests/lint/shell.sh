#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every shell script of the tree through shellcheck; a skip (77) when it is not installed.
command -v shellcheck >/dev/null || { echo 'skip: shellcheck is not installed'; exit 77; }
cd "$1" || exit 1
shellcheck -x script/demo script/test script/bench script/lib.sh .ci/run tests/lint/*.sh
