#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds libsonde into a program in one unusual way and runs it. Skips (77) where the machine lacks the tools.
# usage: variants.sh ROOT musl|static|lto|global-dynamic
set -eu
root=$1
cc=${CC:-cc}
flags="-std=gnu17 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -fvisibility=hidden -I$root -I$root/include"
case $2 in
musl)
    cc=musl-gcc
    flags="$flags -static -ftls-model=global-dynamic" ;;
static) flags="$flags -static -DSONDE_NO_SIMD -ftls-model=initial-exec" ;; # and the portable path
lto) flags="$flags -flto=auto -ftls-model=initial-exec" ;;
global-dynamic) flags="$flags -fPIC -shared -ftls-model=global-dynamic" ;;
*) exit 2 ;;
esac
command -v "$cc" >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sources=$(ls "$root"/instrumentation/*/*.c)
if [ "$2" = global-dynamic ]; then
    # shellcheck disable=SC2086
    "$cc" $flags $sources -o "$dir/libsonde.so.0" -Wl,-soname,libsonde.so.0 -lpthread -lm
    "$cc" -std=gnu17 -I"$root/include" "$root/tests/linking/program.c" -o "$dir/program" "$dir/libsonde.so.0" -lpthread
else
    # shellcheck disable=SC2086
    "$cc" $flags $sources "$root/tests/linking/program.c" -o "$dir/program" -lpthread -lm
fi
SONDE_AGENT_SOCKET=/nonexistent/agent.sock LD_LIBRARY_PATH=$dir "$dir/program"
