# SPDX-License-Identifier: Apache-2.0
"""Figures of the agent as a whole: CPU a span from services to OTLP/HTTP with gzip, CPU at 10,000 spans/s, memory at rest,
memory with 100,000 live sagas.
    python agent_bench.py --build DIR [--list | NAME...]"""
import argparse
import http.server
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "shop"))
from stage import Process, fetch, free_port, wait_until  # noqa: E402

ROUNDS = 11
IDLE_SECONDS = 60
SETTLE_SECONDS = 15  # the agent gives a burst's memory back
CONFIG = """\
agent:
  listen: 127.0.0.1:{page}
  metrics_interval: {metrics_interval}
  socket: {dir}/agent.sock
exporters:
  otlp_http:
    endpoint: http://127.0.0.1:{sink}
"""


class Swallow(http.server.BaseHTTPRequestHandler):
    """A backend that takes everything and looks at nothing, so that it does not compete for the processor."""
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Agent:
    def __init__(self, build, more="", metrics_interval="60s"):
        self.build = pathlib.Path(build).resolve()
        self.temporary = tempfile.TemporaryDirectory(prefix="sonde-bench-")
        self.dir = pathlib.Path(self.temporary.name)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Swallow)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.page = free_port()
        path = self.dir / "sonded.yaml"
        path.write_text(CONFIG.format(page=self.page, dir=self.dir, sink=self.server.server_port,
                                       metrics_interval=metrics_interval) + more)
        self.process = Process("sonded", [self.build / "agent" / "sonded", "--config", path], self.dir)
        wait_until(self.ready, 30, "agent ready")

    def ready(self):
        try:
            return fetch(self.page, "/readyz") is not None
        except OSError:
            return False

    def cpu_ns(self):
        """CPU time of all its threads; those that ended are not in it (there are none)."""
        tasks = pathlib.Path(f"/proc/{self.process.child.pid}/task")
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir())

    def memory_mib(self, *fields):
        status = pathlib.Path(f"/proc/{self.process.child.pid}/status").read_text().split("\n")
        return sum(int(line.split()[1]) for line in status if line.split(":")[0] in fields) / 1024

    def delivered(self):
        """Nothing on its way any more."""
        exporters = json.loads(fetch(self.page, "/api/status"))["ledger"]["exporters"]
        return all(signal["queued"] == 0 and signal["in_flight"] == 0
                   for exporter in exporters for signal in exporter["signals"].values())

    def sagas(self):
        processors = json.loads(fetch(self.page, "/api/status"))["processors"]
        return next(one["figures"] for one in processors if one["name"] == "sagas")

    def load(self, spans, rate):
        """One run of the service: CPU of the agent in ns until all is delivered, seconds, and what the service said."""
        env = dict(os.environ, SONDE_AGENT_SOCKET=str(self.dir / "agent.sock"), OTEL_SERVICE_NAME="bench")
        before, start = self.cpu_ns(), time.monotonic()
        service = Process("load", [self.build / "tests" / "bench" / "bench-load", spans, rate], self.dir, env)
        said = json.loads(service.line("spans", 120))
        seconds = time.monotonic() - start
        service.stop()
        wait_until(self.delivered, 30, "all delivered")
        return self.cpu_ns() - before, seconds, said

    def close(self):
        self.process.stop()
        self.server.shutdown()
        self.temporary.cleanup()


def line(name, median, unit, ratio, runs, dropped=0):
    print(json.dumps({"bench": name, "median": round(median, 3), "unit": unit, "x_clk": round(ratio, 3), "runs": runs,
                      "dropped": dropped}), flush=True)


def agent_gzip(agent):
    agent.load(20000, 50000)
    runs = [agent.load(150000, 100000) for _ in range(ROUNDS)]
    per_span = [cpu / said["spans"] for cpu, _, said in runs]
    line("agent_gzip", statistics.median(per_span), "ns",
         statistics.median(cpu / said["spans"] / said["clk_ns"] for cpu, _, said in runs), ROUNDS,
         sum(said["dropped"] for _, _, said in runs))


def agent_10k_cpu(agent):
    agent.load(10000, 10000)
    runs = [agent.load(20000, 10000) for _ in range(ROUNDS)]
    line("agent_10k_cpu", statistics.median(100 * cpu / (seconds * 1e9) for cpu, seconds, _ in runs), "percent of a core", 0,
         ROUNDS, sum(said["dropped"] for _, _, said in runs))


def at_rest(agent):
    _, _, said = agent.load(100000, 50000)
    time.sleep(IDLE_SECONDS)
    return said["dropped"]


def sagas_100k_rss(build):
    """All that the agent has resident while it follows 100,000 sagas that have not ended."""
    agent = Agent(build)
    try:
        env = dict(os.environ, SONDE_AGENT_SOCKET=str(agent.dir / "agent.sock"), OTEL_SERVICE_NAME="bench")
        subprocess.run([agent.build / "tests" / "integration" / "saga_service"], input="many 100000 0\nflush\n", text=True, env=env,
                       check=True, timeout=120, stdout=subprocess.DEVNULL)
        wait_until(lambda: agent.sagas()["active"] == 100000, 60, "100,000 live sagas")
        wait_until(agent.delivered, 30, "all delivered")
        time.sleep(SETTLE_SECONDS)
        if agent.sagas() != {"active": 100000, "stuck": 0, "completed": 0, "compensated": 0, "failed": 0, "lost": 0}:
            raise RuntimeError(f"not 100,000 live sagas: {agent.sagas()}")
        line("sagas_100k_rss", agent.memory_mib("VmRSS"), "MiB", 0, 1)
    finally:
        agent.close()


def rabbitmq_pages(count, size):
    """Answers of a management API with so many queues, by path and page."""
    def stats(i):
        return {"publish": 1000 + i, "deliver_get": 900 + i, "ack": 890 + i, "redeliver": i % 7}
    queues = [{"name": f"service-{i % 100}.work.queue-{i:05}", "vhost": f"team-{i % 10}", "type": "classic"} for i in range(count)]
    messages = [q | {"state": "running", "messages_ready": i % 50, "messages_unacknowledged": i % 5} for i, q in enumerate(queues)]
    details = [q | {"messages": i % 50 + i % 5, "consumers": i % 3, "message_bytes": i * 100, "head_message_timestamp": 1700000000 + i,
                    "message_stats": stats(i)} for i, q in enumerate(queues)]
    found, pages = {}, (count + size - 1) // size
    for path, items in (("/api/queues", messages), ("/api/queues/detailed", details)):
        for page in range(pages):
            part = items[page * size:(page + 1) * size]
            found[path, page + 1] = json.dumps({"filtered_count": count, "item_count": len(part), "items": part, "page": page + 1,
                                                "page_count": pages, "page_size": size, "total_count": count}).encode()
    return found


class Management(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    pages, polls, full = {}, 0, 0

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(parts.query)
        body = {"/api/overview": b'{"cluster_name":"bench","message_stats":{"drop_unroutable":1}}', "/api/nodes": b"[]"}.get(parts.path)
        if body is None:
            page = int(query["page"][0])
            body = self.pages[parts.path, page]
            Management.polls += page == 1 and parts.path == "/api/queues"
            Management.full += page == 1 and parts.path != "/api/queues"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def rabbitmq_10k(build):
    """CPU of the agent for a poll of 10,000 queues: messages with each, and all that is known of them with every second."""
    Management.pages = rabbitmq_pages(10000, 500)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Management)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    agent = Agent(build, "collectors:\n  rabbitmq: {source: management, addresses: "
                         f'["127.0.0.1:{server.server_port}"], interval: 1500ms, detail_interval: 3s}}\n', metrics_interval="1h")
    try:
        wait_until(lambda: Management.full == 2, 60, "two polls with all")
        runs = []
        for _ in range(ROUNDS):
            polls, cpu = Management.polls, agent.cpu_ns()
            wait_until(lambda: Management.polls == polls + 2, 60, "two polls")
            runs.append((agent.cpu_ns() - cpu) / 2e6)
        line("rabbitmq_10k", statistics.median(runs), "ms a poll", 0, ROUNDS)
        print(json.dumps({"rss_mib": round(agent.memory_mib("VmRSS"), 1)}), file=sys.stderr)
    finally:
        agent.close()
        server.shutdown()


def memory(names, build):
    agent = Agent(build)
    try:
        dropped = at_rest(agent)
        for name, fields in (("agent_rss_idle", ["VmRSS"]), ("agent_private_idle", ["RssAnon", "RssShmem"])):
            if name in names:
                line(name, agent.memory_mib(*fields), "MiB", 0, 1, dropped)
    finally:
        agent.close()


FIGURES = ["agent_gzip", "agent_10k_cpu", "agent_rss_idle", "agent_private_idle", "rabbitmq_10k", "sagas_100k_rss"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(FIGURES))
        return 0
    names = arguments.names or FIGURES
    for name, figure in (("agent_gzip", agent_gzip), ("agent_10k_cpu", agent_10k_cpu)):
        if name in names:
            agent = Agent(arguments.build)
            try:
                figure(agent)
            finally:
                agent.close()
    if {"agent_rss_idle", "agent_private_idle"} & set(names):
        memory(names, arguments.build)
    if "rabbitmq_10k" in names:
        rabbitmq_10k(arguments.build)
    if "sagas_100k_rss" in names:
        sagas_100k_rss(arguments.build)
    return 0


if __name__ == "__main__":
    sys.exit(main())
