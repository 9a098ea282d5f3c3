# SPDX-License-Identifier: Apache-2.0
"""prometheus_scrape follows Consul and Eureka. Both are strict fakes here, which do what is documented and refuse what is not;
the real ones are asked the same by registries_test.py. Usage: discovery_test.py BUILD."""
import base64
import collections
import contextlib
import http.server
import json
import pathlib
import sys
import tempfile
import threading
import time
import urllib.parse

from rig import Agent, wait_until
from scrape_rig import series_of, value_of

JSON = "application/json"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.server.answer(self)

    def send(self, body, status=200, content_type=JSON, **headers):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def serving(answer, port=0):
    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_):
            pass
    server = Server(("127.0.0.1", port), Handler)
    server.answer = answer
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Exporter:
    """A scraped program. paths: what was asked for."""

    def __init__(self, text):
        self.text, self.paths = text, collections.Counter()

    def answer(self, request):
        self.paths[request.path] += 1
        request.send(self.text, content_type="text/plain; version=0.0.4")


class Consul:
    """Catalog and health of services, with blocking queries as developer.hashicorp.com/consul/api-docs/features/blocking says."""

    def __init__(self, token):
        self.token, self.index, self.services = token, 7, {}
        self.changed = threading.Condition()
        self.asked, self.held, self.held_max, self.broken, self.wrong = collections.Counter(), 0, 0, None, []

    def set(self, name, *instances):
        """instances: (id, port, tags, meta, passing). None at all: the service is gone."""
        with self.changed:
            self.index += 1
            self.services[name] = (self.index, instances)
            if not instances:
                del self.services[name]
            self.changed.notify_all()

    def restart(self):
        """As after a restore from an old snapshot: the index begins again."""
        with self.changed:
            self.index = 3
            self.services = {name: (3, instances) for name, (_, instances) in self.services.items()}
            self.changed.notify_all()

    def body(self, path):
        """(index of what is asked for, its JSON)."""
        if path == "/v1/catalog/services":
            tags = {name: sorted({t for i in instances for t in i[2]}) for name, (_, instances) in self.services.items()}
            return self.index, {"consul": [], **tags}
        name = urllib.parse.unquote(path[len("/v1/health/service/"):])
        index, instances = self.services.get(name, (self.index, ()))
        return index, [self.entry(name, *i) for i in instances]

    @staticmethod
    def entry(name, ident, port, tags, meta, passing):
        check = {"Node": "n1", "CheckID": f"service:{ident}", "Name": "check", "Status": "passing" if passing else "critical",
                 "Notes": "", "Output": "", "ServiceID": ident, "ServiceName": name, "ServiceTags": list(tags), "Type": "http"}
        return {"Node": {"ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": "n1", "Address": "127.0.0.1", "Datacenter": "dc1",
                         "TaggedAddresses": {"lan": "127.0.0.1"}, "Meta": {"consul-network-segment": ""}, "CreateIndex": 5, "ModifyIndex": 6},
                "Service": {"ID": ident, "Service": name, "Tags": list(tags), "Address": "", "Meta": meta, "Port": port,
                            "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": False, "Proxy": {"Mode": ""}, "Connect": {},
                            "CreateIndex": 8, "ModifyIndex": 8},
                "Checks": [check]}

    def answer(self, request):
        url = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True, strict_parsing=bool(url.query))
        index, wait = int(query.get("index", ["0"])[0]), query.get("wait", ["0ms"])[0]
        unknown = set(query) - {"index", "wait", "stale", "dc", "tag", "passing"}
        if unknown or not wait.endswith("ms") or ("wait" in query and not index) or not url.path.startswith(("/v1/catalog/services", "/v1/health/service/")):
            self.wrong.append(request.path)
        if request.headers.get("X-Consul-Token") != self.token:
            request.send("Permission denied", 403, "text/plain")
            return
        with self.changed:
            self.asked[url.path] += 1
            if self.broken:
                self.broken(request)
                return
            blocks = index and url.path != "/v1/catalog/services"
            self.held += bool(blocks)
            self.held_max = max(self.held_max, self.held)
            # Held back until the index of what is asked for is past the one given; never less than that, never behind it.
            self.changed.wait_for(lambda: self.broken or self.body(url.path)[0] != index, min(int(wait[:-2]) / 1000, 20))
            self.held -= bool(blocks)
            if self.broken:
                self.broken(request)
                return
            found, value = self.body(url.path)
        if "tag" in query and isinstance(value, list):
            value = [e for e in value if set(query["tag"]) <= set(e["Service"]["Tags"])]
        if "passing" in query and isinstance(value, list):
            value = [e for e in value if all(c["Status"] == "passing" for c in e["Checks"])]
        request.send(json.dumps(value), X_Consul_Index=found, X_Consul_KnownLeader="true", X_Consul_LastContact=0)

    def break_with(self, how):
        with self.changed:
            self.broken = how
            self.changed.notify_all()


class Eureka:
    """GET /eureka/apps as JSON, as Netflix's server encodes it: a list of one is a list, numbers are numbers, truths are text."""

    def __init__(self):
        self.instances, self.asked, self.credentials = {}, 0, "Basic " + base64.b64encode(b"me:pw").decode()

    def set(self, app, ident, port, status="UP", **metadata):
        self.instances[(app, ident)] = {
            "instanceId": ident, "hostName": "127.0.0.1", "app": app, "ipAddr": "127.0.0.1", "status": status,
            "overriddenStatus": "UNKNOWN", "port": {"$": port, "@enabled": "true"}, "securePort": {"$": 443, "@enabled": "false"},
            "countryId": 1, "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
            "leaseInfo": {"renewalIntervalInSecs": 30, "durationInSecs": 90}, "metadata": metadata or {"@class": "java.util.Collections$EmptyMap"},
            "homePageUrl": "http://127.0.0.1/", "vipAddress": app.lower(), "isCoordinatingDiscoveryServer": "false",
            "lastUpdatedTimestamp": "1700000000000", "lastDirtyTimestamp": "1700000000000", "actionType": "ADDED"}

    def answer(self, request):
        self.asked += 1
        if request.headers.get("Authorization") != self.credentials:
            request.send("", 401)
        elif request.path != "/eureka/apps":
            request.send("", 404)
        elif request.headers.get("Accept") != JSON:
            request.send("<applications/>", content_type="application/xml")
        else:
            apps = collections.defaultdict(list)
            for (app, _), instance in self.instances.items():
                apps[app].append(instance)
            request.send(json.dumps({"applications": {"versions__delta": "1", "apps__hashcode": f"UP_{len(self.instances)}_",
                                                      "application": [{"name": n, "instance": i} for n, i in apps.items()]}}))


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
    return f'agent: {{listen: "127.0.0.1:0"}}\nreceivers:\n  prometheus_scrape:\n    interval: 500ms\n    timeout: 500ms\n{body}'


def receiver(agent, source):
    found = [one for one in json.loads(agent.get("/api/status"))["discoveries"] if one["source"] == source]
    assert len(found) == 1
    return found[0]


def follows_consul(directory):
    web, api, other = Exporter("requests 1\n"), Exporter("requests 2\n"), Exporter("requests 3\n")
    consul = Consul("t0ken")
    (directory / "token").write_text("t0ken\n", encoding="utf-8")
    with serving(web.answer) as web_port, serving(api.answer) as api_port, serving(other.answer) as other_port:
        consul.set("web", ("web-1", web_port, ["prod"], {"version": "1.2", "zone": "eu-1"}, True))
        consul.set("api", ("api-1", 1, ["prod", "x"], {"prometheus_port": str(api_port), "prometheus_path": "/m?a=b"}, False))
        consul.set("batch", ("batch-1", other_port, ["test"], {}, True))
        with serving(consul.answer) as port, Agent(directory, config(
                f'    consul: {{address: "127.0.0.1:{port}", token: "${{file:{directory}/token}}", tags: [prod], wait: 10m}}\n')) as agent:
            series = until(agent, lambda s: value_of(s, "requests", job="web") == 1 and value_of(s, "requests", job="api") == 2, "both")
            assert value_of(series, "requests", job="web", instance="web-1") == 1
            assert value_of(series, "target_info", job="web", service_version="1.2", cloud_availability_zone="eu-1",
                            sonde_discovery_source="consul", server_port=str(web_port)) == 1, series
            assert set(api.paths) == {"/m?a=b"} and value_of(series, "requests", job="batch") is None
            assert value_of(series, "sonde_discovery_up", sonde_discovery_source="consul") == 1
            assert value_of(series, "sonde_discovery_targets") == 2
            assert receiver(agent, "consul")["targets"] == 2 and not receiver(agent, "consul")["failing"]

            # Long polling: what changes is seen though `wait` is 10 minutes; a target that stays is left alone.
            consul.set("web", ("web-1", web_port, ["prod"], {"version": "1.2", "zone": "eu-1"}, True),
                       ("web-2", other_port, ["prod"], {}, True))
            until(agent, lambda s: value_of(s, "requests", job="web", instance="web-2") == 3, "another instance")
            assert "new=1 gone=0" in agent.log() and "gone=1" not in agent.log(), "what stays is kept"
            consul.set("api")
            series = until(agent, lambda s: value_of(s, "requests", job="api") is None, "gone")
            assert value_of(series, "up", job="api") is None and value_of(series, "requests", job="web", instance="web-1") == 1
            consul.set("new", ("new-1", api_port, ["prod"], {}, True))
            until(agent, lambda s: value_of(s, "requests", job="new") == 2, "a new service")

            # The index goes back: it is forgotten, and what changes then is seen.
            consul.restart()
            consul.set("web", ("web-2", other_port, ["prod"], {}, True))
            until(agent, lambda s: value_of(s, "requests", job="web", instance="web-1") is None and
                  value_of(s, "requests", job="web", instance="web-2") == 3, "after the restart")

            # Whatever it answers: the targets stay, the trouble is shown.
            for how, error_type in ((lambda r: r.send("rpc error: No cluster leader", 500, "text/plain"), "http_status"),
                                    (lambda r: r.send("ACL not found", 403, "text/plain"), "unauthorized"),
                                    (lambda r: r.send("[[[{"), "malformed"), (lambda r: r.send('{"a": 1}'), "malformed")):
                consul.break_with(how)
                series = until(agent, lambda s: value_of(s, "sonde_discovery_errors_total", error_type=error_type) and
                               value_of(s, "sonde_discovery_up") == 0, error_type)
                assert value_of(series, "requests", job="web", instance="web-2") == 3
                assert value_of(series, "requests", job="new") == 2 and value_of(series, "sonde_discovery_targets") == 2
                assert receiver(agent, "consul")["trouble"].startswith(error_type)
                consul.break_with(None)
                until(agent, lambda s: value_of(s, "sonde_discovery_up") == 1, "well again")
            asked = sum(consul.asked.values())
            assert not consul.wrong, consul.wrong
            assert asked < 150, f"{asked} questions: it does not block"
            log = agent.log()
            assert "t0ken" not in log and "discovery works again" in log
            assert agent.end() == 0


def asks_only_some_services_at_once(directory):
    """More services than places: those without one are asked about now and then."""
    consul, exporter = Consul(None), Exporter("x 1\n")
    with serving(exporter.answer) as exporter_port, serving(consul.answer) as port:
        for i in range(12):
            consul.set(f"s{i:02}", (f"s{i:02}-1", exporter_port, [], {}, True))
        with Agent(directory, config(f'    consul: {{address: "http://127.0.0.1:{port}/", watches_max: 3, refresh: 300ms}}\n')) as agent:
            until(agent, lambda s: len([1 for n, _, _ in s if n == "x"]) == 12, "all")
            consul.set("s11", ("s11-2", exporter_port, [], {}, True), ("s11-3", exporter_port, [], {}, True))
            until(agent, lambda s: len([1 for n, _, _ in s if n == "x"]) == 13, "one more")
            wait_until(lambda: sum(n > 3 for n in list(consul.asked.values())) >= 9, "those without a place, asked again")
            assert 0 < consul.held_max <= 3, consul.held_max
            assert agent.end() == 0


def keeps_what_consul_said_last(directory):
    consul, exporter = Consul(None), Exporter("x 1\n")
    consul_config = 'services: [a, "b c/é"], passing_only: true, wait: 1s, timeout: 1s'
    with serving(exporter.answer) as exporter_port:
        consul.set("b c/é", ("b-1", exporter_port, [], {}, True), ("b-2", exporter_port, [], {}, False))
        with contextlib.ExitStack() as first:
            port = first.enter_context(serving(consul.answer))
            with Agent(directory, config(f'    targets: ["127.0.0.1:{exporter_port}"]\n    job: fixed\n'
                                         f'    consul: {{address: "127.0.0.1:{port}", {consul_config}}}\n')) as agent:
                series = until(agent, lambda s: value_of(s, "x", job="b c/é") == 1 and value_of(s, "x", job="fixed") == 1, "both")
                assert value_of(series, "x", instance="b-2") is None and value_of(series, "x", job="consul") is None
                assert consul.asked["/v1/catalog/services"] == 0, "services are named: no catalog is needed"
                consul.break_with(lambda r: r.connection.close())
                first.close()
                series = until(agent, lambda s: value_of(s, "sonde_discovery_errors_total", error_type="connection_refused"), "away")
                assert value_of(series, "x", job="b c/é") == 1 and value_of(series, "sonde_discovery_up") == 0
                assert receiver(agent, "consul")["failing"]
                consul.broken = None
                consul.set("a", ("a-1", exporter_port, [], {}, True))
                with serving(consul.answer, port):
                    until(agent, lambda s: value_of(s, "x", job="a") == 1 and value_of(s, "sonde_discovery_up") == 1, "back")
                    assert agent.end() == 0


def follows_eureka(directory):
    one, two, actuator = Exporter("x 1\n"), Exporter('x 2\ntarget_info{service_name="told",service_version="9",team="t"} 1\n'), Exporter("x 3\n")
    eureka = Eureka()
    with serving(one.answer) as one_port, serving(two.answer) as two_port, serving(actuator.answer) as actuator_port, \
            serving(eureka.answer) as port, serving(lambda r: r.send("no", 503, "text/plain")) as bad_port:
        eureka.set("ORDERS", "host:orders:1", one_port, version="1.0", zone="z1")
        eureka.set("ORDERS", "host:orders:2", two_port, version="1.1")
        eureka.set("PAY", "host:pay:1", 1, **{"management.port": str(actuator_port), "prometheus.path": "/actuator/prometheus", "service.namespace": "shop"})
        eureka.set("PAY", "host:pay:2", one_port, status="DOWN")
        with Agent(directory, config(f'    eureka: {{servers: ["http://127.0.0.1:{bad_port}/eureka", "http://127.0.0.1:{port}/eureka/"], '
                                     'refresh: 200ms, username: me, password: pw}\n')) as agent:
            series = until(agent, lambda s: value_of(s, "x", job="orders") == 1 and value_of(s, "x", job="told") == 2 and
                           value_of(s, "x", job="shop/pay") == 3, "all three")
            assert value_of(series, "target_info", job="orders", instance="host:orders:1", service_version="1.0",
                            cloud_availability_zone="z1", sonde_discovery_source="eureka") == 1
            assert value_of(series, "target_info", job="told", instance="host:orders:2", service_version="9", team="t") == 1, series
            assert set(actuator.paths) == {"/actuator/prometheus"} and value_of(series, "sonde_discovery_targets") == 3
            assert value_of(series, "sonde_discovery_errors_total", error_type="http_status") == 1
            until(agent, lambda s: value_of(s, "sonde_discovery_up", sonde_discovery_source="eureka") == 1, "up")
            del eureka.instances[("ORDERS", "host:orders:2")]
            series = until(agent, lambda s: value_of(s, "x", job="told") is None, "gone")
            assert value_of(series, "x", job="orders") == 1
            eureka.set("PAY", "host:pay:2", one_port)
            until(agent, lambda s: value_of(s, "x", job="pay", instance="host:pay:2") == 1, "up by now")
            eureka.credentials = "another"
            series = until(agent, lambda s: value_of(s, "sonde_discovery_errors_total", error_type="unauthorized"), "refused")
            assert value_of(series, "x", job="orders") == 1 and value_of(series, "sonde_discovery_targets") == 3
            assert agent.end() == 0


def main():
    for case in (follows_consul, asks_only_some_services_at_once, keeps_what_consul_said_last, follows_eureka):
        with tempfile.TemporaryDirectory() as directory:
            begin = time.monotonic()
            case(pathlib.Path(directory))
            print(f"ok {case.__name__} {time.monotonic() - begin:.1f} s", flush=True)


main()
