# SPDX-License-Identifier: Apache-2.0
"""Exemplars from a service through the agent to a backend: they name the spans they were measured under, and each
arrives once.  usage: exemplars_test.py BUILD PATH-OF-exemplars_peer      (77 = skipped: no messages to decode with)"""
import json
import os
import pathlib
import subprocess
import sys

try:
    import otlp_check  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}; script/test makes the venv")
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "shop"))
from stage import Stage, fetch, wait_until  # noqa: E402

CONFIG = """\
agent:
  listen: 127.0.0.1:{page}
  socket: {dir}/agent.sock
  metrics_interval: 100ms
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{sink}
    batch.timeout: 50ms
"""
TYPES = {"peer.bound": "sum", "peer.counter": "sum", "peer.gauge": "gauge", "peer.exponential": "exponential_histogram",
         "peer.explicit": "histogram"}
ROUNDS = 3


def exemplars(stage):
    return [e for e in json.loads(fetch(stage.sink.port, "/exemplars")) if e["service"] == "measuring"]


def measured(peer, n):
    peer.stdin.write("\n")
    peer.stdin.flush()
    assert peer.stdout.readline() == f"{n}\n"


def check(exemplar, span, n):
    assert (exemplar["trace_id"], exemplar["span_id"]) == (span["trace_id"], span["span_id"]), (exemplar, span)
    assert exemplar["value"] == n, exemplar
    assert span["start"] <= exemplar["time"] <= span["end"], (exemplar, span)
    by_call = exemplar["metric"] != "peer.bound"
    assert exemplar["filtered"] == ({"user": n} if by_call else {}), exemplar
    assert exemplar["attributes"] == ({"route": "/a"} if by_call else {}), exemplar


def main(build, program):
    with Stage(build) as stage:
        stage.start_sink()
        stage.start_agent(CONFIG)
        environment = dict(os.environ, OTEL_SERVICE_NAME="measuring", SONDE_AGENT_SOCKET=str(stage.dir / "agent.sock"))
        with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as peer:
            for n in range(1, ROUNDS + 1):
                measured(peer, n)
                wait_until(lambda n=n: len(exemplars(stage)) >= n * len(TYPES), 60, f"exemplars of round {n}")
        assert peer.returncode == 0
        wait_until(lambda: len([s for s in stage.sink.spans() if s["name"] == "measured"]) == ROUNDS, 60, "spans")
        spans = {s["attributes"]["n"]: s for s in stage.sink.spans() if s["name"] == "measured"}
        found = exemplars(stage)
        for name, which in TYPES.items():
            of_metric = sorted((e for e in found if e["metric"] == name), key=lambda e: e["time"])
            assert [e["type"] for e in of_metric] == [which] * ROUNDS, of_metric  # each round's once, and no other
            for n, exemplar in enumerate(of_metric, 1):
                check(exemplar, spans[n], n)
        report = stage.sink.report()
        assert not report["errors"], json.dumps(report["errors"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
