# SPDX-License-Identifier: Apache-2.0
"""The examples in other languages, through the agent to a backend.  usage: ffi_test.py BUILD SANITIZE LANGUAGE CC...
Each makes two spans, sets attributes, and prints the headers it injected. Exit 77 (skipped) without the language's tools."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "ffi"
sys.path.insert(0, str(ROOT / "examples" / "shop"))
from stage import Stage, wait_until  # noqa: E402

CONFIG = """\
agent:
  listen: 127.0.0.1:{page}
  socket: {dir}/agent.sock
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{sink}
"""


def run(command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, timeout=280, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def library(build, sanitize, compiler, directory):
    """The folder of a libsonde.so that any program can load: a sanitized one only goes into sanitized programs."""
    if sanitize == "none":
        return build / "instrumentation"
    sources = sorted((ROOT / "instrumentation").glob("*/*.c"))
    run([*compiler, "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-fPIC", "-shared", "-fvisibility=hidden",
         "-ftls-model=initial-exec", f"-I{ROOT}", f"-I{ROOT / 'include'}", *sources, "-o", directory / "libsonde.so.0",
         "-Wl,-soname,libsonde.so.0", "-lpthread", "-lm"])
    (directory / "libsonde.so").symlink_to("libsonde.so.0")
    return directory


def python_command(libraries, _directory, _build):
    return [sys.executable, EXAMPLES / "hello.py", libraries / "libsonde.so"]


def rust_command(libraries, directory, _build):
    run(["rustc", "--edition", "2021", "-D", "warnings", "-o", directory / "hello", EXAMPLES / "hello.rs", "-L", libraries, "-l",
         "dylib=sonde"])
    return [directory / "hello"]


def go_command(libraries, directory, build):
    environment = dict(os.environ, CGO_ENABLED="1", CGO_CFLAGS=f"-I{ROOT / 'include'}", CGO_LDFLAGS=f"-L{libraries} -lsonde",
                       GOCACHE=str(build / "go-cache"), GOFLAGS="-mod=mod", GOTOOLCHAIN="local")
    run(["go", "build", "-o", directory / "hello", EXAMPLES / "hello.go"], env=environment, cwd=directory)
    return [directory / "hello"]


LANGUAGES = {"python": (None, python_command), "rust": ("rustc", rust_command), "go": ("go", go_command)}


def check(spans, headers, service):
    hello, send = sorted((s for s in spans if s["service"] == service), key=lambda s: s["name"])
    assert (hello["name"], send["name"]) == ("hello", "send"), spans
    assert send["trace_id"] == hello["trace_id"] and send["parent_span_id"] == hello["span_id"], spans
    assert hello["attributes"] == {"greeting": "Grüße", "count": -7, "ratio": 0.5, "polite": True}, hello
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, trace_id, span_id) == ("00", send["trace_id"], send["span_id"]), headers
    assert int(flags, 16) & 1, headers


def main(build, sanitize, language, compiler):
    tool, command = LANGUAGES[language]
    if tool and not shutil.which(tool):
        print(f"skipped: {tool} is not on PATH")
        return 77
    with Stage(build) as stage:
        libraries = library(stage.build, sanitize, compiler, stage.dir)
        program = command(libraries, stage.dir, stage.build)
        stage.start_sink()
        stage.start_agent(CONFIG)
        service = f"hello-{language}"
        out = run(program, env=dict(os.environ, LD_LIBRARY_PATH=str(libraries), OTEL_SERVICE_NAME=service,
                                    SONDE_AGENT_SOCKET=str(stage.dir / "agent.sock")))
        headers = dict(line.split(": ", 1) for line in out.splitlines())
        wait_until(lambda: len([s for s in stage.sink.spans() if s["service"] == service]) == 2, 30, "both spans")
        check(stage.sink.spans(), headers, service)
        report = stage.sink.report()
        assert not report["errors"], json.dumps(report["errors"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
