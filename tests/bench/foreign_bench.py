# SPDX-License-Identifier: Apache-2.0
"""CPU of the agent while it scrapes 10,000 series of other libraries' circuit breakers a second and shows them as ours.
    python foreign_bench.py --build DIR [--list | NAME...]"""
import argparse
import http.server
import json
import pathlib
import re
import statistics
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "shop"))
from stage import Process, fetch, free_port, wait_until  # noqa: E402

BREAKERS, SERIES, SECONDS, ROUNDS = 1000, 10, 5, 5
STATES = ("closed", "open", "half_open", "forced_open", "disabled", "metrics_only")
CONFIG = """\
agent:
  listen: 127.0.0.1:{page}
  socket: {dir}/agent.sock
receivers:
  prometheus_scrape:
    targets: ["127.0.0.1:{target}"]
    interval: 1s
    timeout: 1s
"""


def exposition():
    """BREAKERS breakers as Micrometer exposes them, SERIES series each."""
    lines = ["# HELP resilience4j_circuitbreaker_state The states", "# TYPE resilience4j_circuitbreaker_state gauge"]
    names = [f"service-{i:04d}" for i in range(BREAKERS)]
    for name in names:
        lines += [f'resilience4j_circuitbreaker_state{{name="{name}",state="{s}",}} {float(s == "closed")}' for s in STATES]
    lines += ["# TYPE resilience4j_circuitbreaker_calls_seconds summary"]
    for name in names:
        lines += [f'resilience4j_circuitbreaker_calls_seconds_count{{kind="{k}",name="{name}",}} {1027.0 + len(k)}'
                  for k in ("successful", "failed")]
    lines += ["# TYPE resilience4j_circuitbreaker_not_permitted_calls_total counter"]
    lines += [f'resilience4j_circuitbreaker_not_permitted_calls_total{{kind="not_permitted",name="{n}",}} 12.0' for n in names]
    lines += ["# TYPE resilience4j_circuitbreaker_failure_rate gauge"]
    lines += [f'resilience4j_circuitbreaker_failure_rate{{name="{n}",}} 12.5' for n in names]
    return ("\n".join(lines) + "\n").encode()


class Target(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = exposition()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_):
        pass


def foreign_10k_cpu(build):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="sonde-bench-") as directory:
        path, page = pathlib.Path(directory) / "sonded.yaml", free_port()
        path.write_text(CONFIG.format(page=page, dir=directory, target=server.server_port))
        process = Process("sonded", [pathlib.Path(build).resolve() / "agent" / "sonded", "--config", path], pathlib.Path(directory))
        try:
            def scraped():
                try:
                    return re.search(rf"^scrape_samples_scraped\{{.*\}} {BREAKERS * SERIES}$",
                                     fetch(page, "/metrics"), re.M)
                except OSError:
                    return None
            wait_until(scraped, 30, "a scrape")

            def cpu_ns():
                tasks = pathlib.Path(f"/proc/{process.child.pid}/task")
                return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())
            shares = []
            for _ in range(ROUNDS):
                before, start = cpu_ns(), time.monotonic()
                time.sleep(SECONDS)
                shares.append(100 * (cpu_ns() - before) / ((time.monotonic() - start) * 1e9))
            assert scraped()
            shown = re.findall(r'^sonde_circuit_breaker_state\{.*state="closed".*\} 1$', fetch(page, "/metrics"), re.M)
            assert len(shown) == BREAKERS, len(shown)
        finally:
            process.stop()
            server.shutdown()
    print(json.dumps({"bench": "foreign_10k_cpu", "median": round(statistics.median(shares), 3), "unit": "percent of a core",
                      "x_clk": 0, "runs": ROUNDS, "dropped": 0}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.list:
        print("foreign_10k_cpu")
    elif not arguments.names or "foreign_10k_cpu" in arguments.names:
        foreign_10k_cpu(arguments.build)
    return 0


if __name__ == "__main__":
    sys.exit(main())
