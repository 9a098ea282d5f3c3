# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What the scripts share. Source it; it changes into the root of the tree.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# packages FILE...: installs what is missing of the packages listed. Quiet unless it fails.
packages() {
    local wanted missing=() name log
    wanted=$(sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@")
    for name in $wanted; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || die "needed, and there is no apt-get: ${missing[*]}"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "needs root or sudo to install: ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${#missing[@]} packages: ${missing[*]}"
    log=$(mktemp)
    # Services of packages (redis-server, prometheus) must not be started by their installation: policy-rc.d says no (101).
    # shellcheck disable=SC2016 # the inner shell expands
    if ! { "${as_root[@]}" sh -c '
        set -e
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            printf "#!/bin/sh\nexit 101\n" >"$policy"
            chmod 755 "$policy"
            trap "rm -f $policy" EXIT
        fi
        export DEBIAN_FRONTEND=noninteractive
        apt-get -q update
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
        ' sh "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "apt-get could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

# venv: makes or refreshes .venv with what tests/interop/requirements.txt lists.
venv() {
    local stamp=.venv/requirements.done log
    [ -f "$stamp" ] && cmp -s "$stamp" tests/interop/requirements.txt && return 0
    say 'making .venv with the OpenTelemetry protobuf messages'
    log=$(mktemp)
    if ! { python3 -m venv .venv && .venv/bin/python -m pip install -q --disable-pip-version-check \
        -r tests/interop/requirements.txt; } >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die 'cannot make .venv'
    fi
    rm -f "$log"
    cp tests/interop/requirements.txt "$stamp"
}

# jars POM DIR: what a pom.xml lists, with all that needs, in DIR. A test without its jars is skipped and says so, thus a
# registry that does not answer fails nothing.
jars() {
    local pom=$1 dir=$2 log
    cmp -s "$dir/pom.done" "$pom" && return 0
    say "fetching jars into $dir"
    log=$(mktemp)
    rm -rf "$dir"
    if mvn -B -q -f "$pom" dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$PWD/$dir" >"$log" 2>&1; then
        cp "$pom" "$dir/pom.done"
    else
        tail -n 10 "$log" >&2
        say "cannot fetch what $pom lists"
        rm -rf "$dir"
    fi
    rm -f "$log"
}

# node_modules: what tests/interop/peers/js/package-lock.json lists, in .cache/peers-js. As with jars(), a test without it is skipped.
node_modules() {
    local from=tests/interop/peers/js dir=.cache/peers-js log
    cmp -s "$dir/lock.done" "$from/package-lock.json" && return 0
    command -v npm >/dev/null || packages script/packages-js.txt # Node.js may be there from elsewhere
    say "installing npm packages into $dir"
    log=$(mktemp)
    rm -rf "$dir"
    mkdir -p "$dir"
    cp "$from/package.json" "$from/package-lock.json" "$dir"
    if npm ci --prefix "$dir" --ignore-scripts --no-audit --no-fund --no-update-notifier >"$log" 2>&1; then
        cp "$from/package-lock.json" "$dir/lock.done"
    else
        tail -n 10 "$log" >&2
        say "cannot install what $from/package-lock.json lists"
        rm -rf "$dir"
    fi
    rm -f "$log"
}

# jar_of FROM DIR NAME: FROM's *.java compiled into DIR/NAME.jar, beside the jars that FROM/pom.xml lists.
jar_of() {
    local from=$1 dir=$2 jar=$2/$3.jar log
    jars "$from/pom.xml" "$dir"
    [ -f "$dir/pom.done" ] || return 0
    [ -f "$jar" ] && [ -z "$(find "$from" -name '*.java' -newer "$jar")" ] && return 0
    log=$(mktemp)
    rm -rf "$dir/classes" "$jar"
    if ! { javac -encoding UTF-8 -cp "$dir/*" -d "$dir/classes" "$from"/*.java && jar cf "$jar" -C "$dir/classes" .; } \
        >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "cannot compile $from"
    fi
    rm -f "$log"
}
java_peer() { jar_of tests/interop/peers/java .cache/peers-java peer; }
resilience4j() { jar_of tests/interop/resilience4j .cache/resilience4j oracle; }

eureka() { jar_of tests/interop/eureka .cache/eureka server; }

# consul: .cache/consul/consul, from its Go module. Its api, sdk and proto-public are modules of their own: go.mod has folders
# in their place, which the module's archive lacks. Takes 3 to 10 minutes, once, and 4 GB meanwhile. As with jars(), a test
# without it is skipped. The version is one that Debian's Go compiles (1.19), and newer ones.
consul_build() {
    local version=$1 dir=$2 module=github.com/hashicorp/consul archive
    export GOPATH=$dir/go GOCACHE=$dir/cache GOFLAGS='-mod=mod -buildvcs=false -modcacherw' GOTOOLCHAIN=local CGO_ENABLED=0
    cd "$dir" &&
        archive=$(go mod download -json "$module@$version" | sed -n 's/.*"Dir": "\(.*\)".*/\1/p') && [ -n "$archive" ] &&
        cp -r "$archive" source && chmod -R u+w source && cd source &&
        go mod edit -dropreplace "$module/api" -dropreplace "$module/sdk" -dropreplace "$module/proto-public" &&
        nice go build -trimpath -ldflags '-s -w' -o ../consul .
}
consul() {
    local version=v1.14.4 dir=$PWD/.cache/consul log
    [ "$(cat "$dir/version" 2>/dev/null)" = "$version" ] && return 0
    say "building Consul $version into .cache/consul"
    log=$(mktemp)
    rm -rf "$dir"
    mkdir -p "$dir"
    if (consul_build "$version" "$dir") >"$log" 2>&1; then printf '%s' "$version" >"$dir/version"; else
        grep -v '^go: downloading' "$log" | tail -n 10 >&2
        say "cannot build Consul $version"
    fi
    rm -rf "$dir/go" "$dir/cache" "$dir/source" "$log"
}

# go_toolchain: .cache/go, a Go that is as new as the packages of Prometheus 3 want, where the installed one is older (Debian 12 has
# 1.19): a module like others, golang.org/toolchain. As with jars(), a test without it is skipped.
go_toolchain() {
    local version dir=$PWD/.cache/go name log
    version=$(sed -n 's/^go //p' tests/interop/peers/prometheus3/go.mod)
    if printf '%s\n' "go$version" "$(go env GOVERSION 2>/dev/null)" | sort -VC ||
        [ "$(cat "$dir/version" 2>/dev/null)" = "$version" ]; then
        return 0
    fi
    say "fetching Go $version into .cache/go"
    name=golang.org/toolchain@v0.0.1-go$version.linux-amd64
    log=$(mktemp)
    rm -rf "$dir"
    mkdir -p "$dir"
    if (cd "$dir" && GOPATH=$dir/path GOFLAGS=-modcacherw GOTOOLCHAIN=local go mod download "$name") >"$log" 2>&1 &&
        mv "$dir/path/pkg/mod/$name"/* "$dir/"; then
        chmod -R +x "$dir/bin" "$dir/pkg/tool"
        printf '%s' "$version" >"$dir/version"
    else
        tail -n 10 "$log" >&2
        say "cannot fetch Go $version"
    fi
    rm -rf "$dir/path" "$log"
}

# build DIR [MESON OPTION...]: configures (again when the options differ) and compiles. Quiet unless it fails.
build() {
    local dir=$1 log options
    shift
    options="$*"
    log=$(mktemp)
    say "building $dir"
    if [ "$(cat "$dir/options.used" 2>/dev/null)" != "$options" ] || [ ! -f "$dir/build.ninja" ]; then
        rm -rf "$dir"
        meson setup "$dir" "$@" >"$log" 2>&1 || { tail -n 40 "$log" >&2; rm -f "$log"; die "meson setup $dir failed"; }
        printf '%s' "$options" >"$dir/options.used"
    fi
    meson compile -C "$dir" >"$log" 2>&1 || { sed -n '/^FAILED/,$p' "$log" | grep -vE '^\[[0-9]+/[0-9]+\]' | tail -n 60 >&2; rm -f "$log"; die "building $dir failed"; }
    rm -f "$log"
}
