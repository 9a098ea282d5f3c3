# SPDX-License-Identifier: Apache-2.0
"""prometheus_scrape follows a real Consul (.cache/consul) or a real Spring Cloud Eureka (.cache/eureka), which script/lib.sh gets.
Exit 77 (skipped) when they are not there. Usage: registries_test.py BUILD consul|eureka."""
import http.server
import json
import os
import pathlib
import shutil
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

from rig import Agent, wait_until
from scrape_rig import series_of, value_of

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "interop"))
import brokers  # noqa: E402

CONSUL = pathlib.Path(os.environ.get("SONDE_CONSUL", ROOT / ".cache" / "consul" / "consul"))
EUREKA_JARS = pathlib.Path(os.environ.get("SONDE_EUREKA_JARS", ROOT / ".cache" / "eureka"))
TOKEN = "d8a5e9a4-2c8e-4f6e-8f58-6f1f1d3b2a10"


class Exporter:
    """A program with metrics, on a port of its own; ends with this one."""

    def __init__(self, text):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                body = text.encode()
                self.send_response(200 if self.path in ("/metrics", "/actuator/prometheus") else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def ask(method, url, value=None, **headers):
    """(status, body)."""
    body = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read()
    except OSError:
        return 0, b""


def until(agent, wanted, what):
    def look():
        assert agent.process.poll() is None, agent.log()
        series = series_of(agent.get("/metrics"))
        return series if wanted(series) else None
    try:
        return wait_until(look, what)
    except AssertionError:
        print(agent.log(), agent.get("/metrics"), file=sys.stderr)
        raise


def config(body):
    return f'agent: {{listen: "127.0.0.1:0"}}\nreceivers:\n  prometheus_scrape:\n    interval: 500ms\n    timeout: 500ms\n    {body}\n'


# ---- Consul ----

class Consul:
    def __init__(self, server):
        self.server, self.url = server, f"http://{server.address}"
        self.start()

    def start(self):
        ports = self.server.ports
        self.server.run([CONSUL, "agent", "-dev", "-node", "n1", "-bind", "127.0.0.1", "-client", "127.0.0.1", "-http-port", str(ports["main"]),
                         "-dns-port", "-1", "-grpc-port", "-1", "-grpc-tls-port", "-1", "-serf-lan-port", str(ports["lan"]),
                         "-serf-wan-port", str(ports["wan"]), "-server-port", str(ports["server"]), "-disable-host-node-id",
                         "-hcl", f'acl {{ enabled = true, default_policy = "deny", tokens {{ initial_management = "{TOKEN}", agent = "{TOKEN}" }} }}',
                         "-hcl", "disable_update_check = true"])
        wait_until(lambda: self.ready() or self.server.processes[-1].poll() is not None, "consul")
        if self.server.processes[-1].poll() is not None:
            raise brokers.Failed(self.server.said())

    def ready(self):
        status, body = ask("GET", f"{self.url}/v1/health/service/consul", **{"X-Consul-Token": TOKEN})
        return status == 200 and len(json.loads(body)) == 1

    def put(self, path, value=None):
        status, body = ask("PUT", self.url + path, value, **{"X-Consul-Token": TOKEN})
        assert status == 200, (path, status, body)

    def register(self, name, ident, port, **more):
        self.put("/v1/agent/service/register", {"Name": name, "ID": ident, "Port": port, "Address": "127.0.0.1", **more})

    def deregister(self, ident):
        self.put(f"/v1/agent/service/deregister/{ident}")


def follows_consul(directory, server):
    one, two = Exporter("x 1\n"), Exporter("x 2\n")
    consul = Consul(server)
    consul.register("web", "web-1", one.port, Tags=["prod"], Meta={"version": "1.2", "zone": "z1"})
    consul.register("web", "web-2", two.port, Tags=["prod"],
                    Check={"Name": "always", "TTL": "1h", "Status": "critical"})
    consul.register("api", "api-1", 1, Tags=["prod"], Meta={"prometheus_port": str(one.port), "prometheus_path": "/actuator/prometheus"})
    consul.register("batch", "batch-1", one.port, Tags=["test"])
    options = f'address: "{server.address}", wait: 10m, tags: [prod]'
    with Agent(directory, config(f'consul: {{{options}, token: "{TOKEN}"}}')) as agent:
        series = until(agent, lambda s: [value_of(s, "x", instance=i) for i in ("web-1", "web-2", "api-1")] == [1, 2, 1], "all three")
        assert value_of(series, "x", job="batch") is None and value_of(series, "x", job="consul") is None
        assert value_of(series, "target_info", job="web", instance="web-1", service_version="1.2", cloud_availability_zone="z1",
                        sonde_discovery_source="consul") == 1
        consul.deregister("web-2")
        series = until(agent, lambda s: value_of(s, "x", instance="web-2") is None, "deregistered, seen by long polling")
        assert value_of(series, "x", instance="web-1") == 1
        consul.register("new", "new-1", two.port, Tags=["prod"])
        until(agent, lambda s: value_of(s, "x", job="new") == 2, "a new service")
        consul.deregister("new-1")
        until(agent, lambda s: value_of(s, "x", job="new") is None, "a service that is gone")

        server.processes[-1].kill()
        server.processes[-1].wait()
        series = until(agent, lambda s: value_of(s, "sonde_discovery_up") == 0, "away")
        assert value_of(series, "x", instance="web-1") == 1 and value_of(series, "sonde_discovery_targets") == 2
        consul.start()  # it remembers nothing, and its index begins again
        series = until(agent, lambda s: value_of(s, "sonde_discovery_up") == 1 and value_of(s, "sonde_discovery_targets") == 0, "back, and empty")
        assert value_of(series, "x", instance="web-1") is None
        consul.register("web", "web-9", two.port, Tags=["prod"])
        until(agent, lambda s: value_of(s, "x", job="web", instance="web-9") == 2, "registered again")
        assert agent.end() == 0
    consul.register("web", "web-8", one.port, Tags=["prod"], Check={"Name": "always", "TTL": "1h", "Status": "critical"})
    with Agent(directory, config(f'consul: {{{options}, token: "{TOKEN}", passing_only: true, services: [web]}}')) as agent:
        until(agent, lambda s: value_of(s, "x", instance="web-9") == 2, "what passes")
        consul.put("/v1/agent/check/pass/service:web-8")
        until(agent, lambda s: value_of(s, "x", instance="web-8") == 1, "what passes by now")
        assert agent.end() == 0
    with Agent(directory, config(f'consul: {{{options}, token: "00000000-0000-0000-0000-00000000abcd"}}')) as agent:
        until(agent, lambda s: value_of(s, "sonde_discovery_errors_total", error_type="unauthorized"), "a wrong token")
        assert agent.end() == 0


# ---- Eureka ----

class Eureka:
    def __init__(self, server):
        self.url = f"http://{server.address}/eureka"
        server.run([brokers.find("java"), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{EUREKA_JARS}/*",
                    "sonde.tests.eureka.EurekaServer", f"--server.port={server.port}", "--server.address=127.0.0.1",
                    "--eureka.client.register-with-eureka=false", "--eureka.client.fetch-registry=false",
                    "--eureka.server.response-cache-update-interval-ms=200"])
        end = time.monotonic() + brokers.START_SECONDS
        while ask("GET", f"{self.url}/apps")[0] != 200:
            if server.processes[-1].poll() is not None or time.monotonic() > end:
                raise brokers.Failed(server.said())
            time.sleep(0.05)

    def register(self, app, ident, port, status="UP", **metadata):
        code, body = ask("POST", f"{self.url}/apps/{app}", {"instance": {
            "instanceId": ident, "hostName": "127.0.0.1", "app": app, "ipAddr": "127.0.0.1", "status": status,
            "port": {"$": port, "@enabled": "true"}, "vipAddress": app.lower(), "metadata": metadata,
            "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"}}})
        assert code == 204, (code, body)


def follows_eureka(directory, server):
    one, two = Exporter("x 1\n"), Exporter("x 2\n")
    eureka = Eureka(server)
    eureka.register("ORDERS", "host:orders:1", one.port, version="1.0", zone="z1")
    eureka.register("PAY", "host:pay:1", 1, **{"management.port": str(two.port), "prometheus.path": "/actuator/prometheus"})
    eureka.register("PAY", "host:pay:2", one.port, status="OUT_OF_SERVICE")
    with Agent(directory, config(f'eureka: {{servers: ["{eureka.url}"], refresh: 200ms}}')) as agent:
        series = until(agent, lambda s: value_of(s, "x", job="orders") == 1 and value_of(s, "x", job="pay") == 2, "both")
        assert value_of(series, "target_info", job="orders", instance="host:orders:1", service_version="1.0",
                        cloud_availability_zone="z1", sonde_discovery_source="eureka") == 1
        assert value_of(series, "sonde_discovery_targets") == 2
        assert ask("PUT", f"{eureka.url}/apps/PAY/host:pay:2/status?value=UP")[0] == 200
        until(agent, lambda s: value_of(s, "x", instance="host:pay:2") == 1, "up by now")
        assert ask("DELETE", f"{eureka.url}/apps/ORDERS/host:orders:1")[0] == 200
        series = until(agent, lambda s: value_of(s, "x", job="orders") is None, "deregistered")
        assert value_of(series, "x", instance="host:pay:1") == 2
        server.processes[-1].kill()
        server.processes[-1].wait()
        series = until(agent, lambda s: value_of(s, "sonde_discovery_up") == 0, "away")
        assert value_of(series, "x", instance="host:pay:1") == 2 and value_of(series, "sonde_discovery_targets") == 2
        assert agent.end() == 0


def main():
    which = sys.argv[2]
    if which == "consul" and not CONSUL.exists():
        print(f"skipped: {CONSUL} is not there")
        sys.exit(77)
    if which == "eureka" and not (shutil.which("java") and (EUREKA_JARS / "server.jar").exists()):
        print(f"skipped: no java, or {EUREKA_JARS}/server.jar is not there")
        sys.exit(77)
    case, names = {"consul": (follows_consul, ("main", "lan", "wan", "server")), "eureka": (follows_eureka, ("main",))}[which]
    begin = time.monotonic()
    with brokers.started(lambda server: None, *names) as server, tempfile.TemporaryDirectory() as directory:
        case(pathlib.Path(directory), server)
    print(f"ok {case.__name__} {time.monotonic() - begin:.1f} s", flush=True)


main()
