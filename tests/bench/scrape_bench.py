# SPDX-License-Identifier: Apache-2.0
"""Figures of /metrics with 100,000 series (13 services with four counters of 1,924 series each): the agent's CPU for a
scrape, the memory it takes beyond what it had, and what a scrape does to records that pass meanwhile.
    python scrape_bench.py --build DIR [--list | NAME...]"""
import argparse
import gzip
import http.client
import os
import pathlib
import statistics
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from agent_bench import SETTLE_SECONDS, Agent, Process, Swallow, line  # noqa: E402

SERVICES, INSTRUMENTS, SERIES = 13, 4, 1924
ROUNDS = 11
TEXT = {"Accept": "text/plain;version=0.0.4"}
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}
PROTO = {"Accept": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}
GZIP = {"Accept-Encoding": "gzip"}
SPANS, RATE = 60000, 5000


class Full(Agent):
    """An agent with all those series. shared: they are of the same families."""
    def __init__(self, build, shared=False):
        super().__init__(build)
        self.services = []
        for number in range(SERVICES):
            env = dict(os.environ, SONDE_AGENT_SOCKET=str(self.dir / "agent.sock"), OTEL_SERVICE_NAME=f"service{number}")
            self.services.append(Process(f"series{number}", [self.build / "tests" / "bench" / "bench-series",
                                                            "all" if shared else f"service{number}", INSTRUMENTS, SERIES],
                                         self.dir, env))
        for service in self.services:
            service.line("series", 60)
        body = self.scrape(TEXT)
        found = body.count(b"_requests")
        if found < SERVICES * INSTRUMENTS * SERIES:
            raise RuntimeError(f"only {found} series")

    def scrape(self, headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.page, timeout=60)
        connection.request("GET", "/metrics", headers=headers)
        body = connection.getresponse().read()
        connection.close()
        return body

    def cost_ms(self, headers):
        before = self.cpu_ns()
        self.scrape(headers)
        return (self.cpu_ns() - before) / 1e6

    def extra_mib(self, headers):
        """Beyond what it has at rest: some records pass first, whose memory is given back, with what scrapes before left."""
        self.load(2000, 10000)
        time.sleep(SETTLE_SECONDS)
        before = self.memory_mib("VmRSS")
        pathlib.Path(f"/proc/{self.process.child.pid}/clear_refs").write_text("5")  # begins VmHWM anew
        self.scrape(headers)
        return self.memory_mib("VmHWM") - before

    def close(self):
        for service in self.services:
            service.stop()
        super().close()


def cpu(name, headers):
    def figure(build):
        agent = Full(build)
        try:
            line(name, statistics.median(agent.cost_ms(headers) for _ in range(ROUNDS)), "ms", 0, ROUNDS)
        finally:
            agent.close()
    return figure


def rss(name, shared):
    def figure(build):
        agent = Full(build, shared)
        try:
            for headers in (TEXT, PROTO, OPENMETRICS):
                agent.scrape(headers)
            extra = [agent.extra_mib(headers) for headers in (TEXT | GZIP, PROTO, OPENMETRICS | GZIP)]
            line(name, max(extra), "MiB", 0, len(extra))
        finally:
            agent.close()
    return figure


class Delays(Swallow):
    """A backend that notes how old spans are when they come."""
    delays = []

    def do_POST(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
        now = time.time_ns()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path != "/v1/traces":
            return
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body))
        self.delays.extend((now - span.end_time_unix_nano) / 1e6 for resource in request.resource_spans
                           for scope in resource.scope_spans for span in scope.spans)


def percentile_99(agent, scrapes):
    Delays.delays.clear()
    done = threading.Event()

    def scraper():
        while scrapes and not done.is_set():
            agent.scrape(TEXT)
            done.wait(1)
    thread = threading.Thread(target=scraper)
    thread.start()
    agent.load(SPANS, RATE)
    done.set()
    thread.join()
    return statistics.quantiles(Delays.delays, n=100)[98]


def p99(build):
    agent = Full(build)
    agent.server.RequestHandlerClass = Delays
    try:
        pairs = [(percentile_99(agent, False), percentile_99(agent, True)) for _ in range(5)]
        line("scrape_100k_p99", statistics.median(beside / alone for alone, beside in pairs), "times", 0, len(pairs))
    finally:
        agent.close()


FIGURES = {"scrape_100k_text": cpu("scrape_100k_text", TEXT), "scrape_100k_openmetrics": cpu("scrape_100k_openmetrics", OPENMETRICS),
           "scrape_100k_proto": cpu("scrape_100k_proto", PROTO), "scrape_100k_text_gzip": cpu("scrape_100k_text_gzip", TEXT | GZIP),
           "scrape_100k_rss": rss("scrape_100k_rss", False), "scrape_100k_rss_shared": rss("scrape_100k_rss_shared", True),
           "scrape_100k_p99": p99}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("names", nargs="*", default=[])
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(FIGURES))
        return 0
    for name in arguments.names or FIGURES:
        FIGURES[name](arguments.build)
    return 0


if __name__ == "__main__":
    sys.exit(main())
