# SPDX-License-Identifier: Apache-2.0
"""Many agents, one broker: whoever has the lease polls. Usage: collect_lease_test.py BUILD [kafka].
Two real agents and a redis-server; the one that polls is killed. Exit 77 (skipped) when there is no redis-server, or
no Kafka for the case of that name."""
import contextlib
import http.server
import json
import pathlib
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
import rig  # noqa: E402
from collect_rig import Watch, check_refused, liar, wait_until  # noqa: E402


def redis(port, *words):
    return subprocess.run([brokers.find("redis-cli"), "-p", str(port), *words], check=True, capture_output=True, text=True).stdout


def polls(watch):
    """This agent has the lease, and sets series."""
    return watch.value("poll_leader") == 1 and watch.values("consumer_lag") == [3]


def polls_nothing(watch):
    return watch.value("poll_leader") == 0 and watch.values("consumer_lag") == []


def only_says_that_it_does_not(watch):
    return {n for n, _, _ in watch.series() if n.startswith("sonde_messaging_")} == {"sonde_messaging_poll_leader"} \
        and watch.value("poll_leader") == 0


def one_of(one, another):
    """The one that polls when exactly one does, and the other."""
    wait_until(lambda: sorted([polls(one), polls(another)]) == [False, True], "one of them polls")
    return (one, another) if polls(one) else (another, one)


class Api(http.server.BaseHTTPRequestHandler):
    """The part of Kubernetes' API that leases need, as strict as it: one object at a time, by resourceVersion."""
    protocol_version = "HTTP/1.1"
    PATH = "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
    MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

    def log_message(self, *_):
        pass

    def reply(self, status, body=None):
        text = json.dumps(body or {"kind": "Status", "code": status}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def authorized(self):
        good = self.headers.get("Authorization") == f"Bearer {self.server.token}"
        if not good:
            self.reply(401)
        return good

    def do_GET(self):
        with self.server.lock:
            if self.authorized():
                lease = self.server.lease if self.path == f"{self.PATH}/redis" else None
                self.reply(200 if lease else 404, lease)

    def take(self, path):
        """The object that was sent, checked; None when it was refused."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.authorized():
            return None
        spec = sent["spec"]
        good = (self.path == path and sent["apiVersion"] == "coordination.k8s.io/v1" and sent["kind"] == "Lease"
                and sent["metadata"]["name"] == "redis" and sent["metadata"]["namespace"] == "shop"
                and self.headers["Content-Type"] == "application/json"
                and self.MICRO_TIME.fullmatch(spec["renewTime"]) and self.MICRO_TIME.fullmatch(spec["acquireTime"])
                and isinstance(spec["leaseDurationSeconds"], int) and isinstance(spec["leaseTransitions"], int))
        if not good:
            self.server.problems.append(sent)
            self.reply(422)
            return None
        return sent

    def keep(self, status, sent):
        self.server.version += 1
        sent["metadata"]["resourceVersion"] = str(self.server.version)
        self.server.lease = sent
        self.reply(status, sent)

    def do_POST(self):
        with self.server.lock:
            sent = self.take(self.PATH)
            if sent and self.server.lease:
                self.reply(409)
            elif sent:
                self.keep(201, sent)

    def do_PUT(self):
        with self.server.lock:
            sent = self.take(f"{self.PATH}/redis")
            if sent and sent["metadata"].get("resourceVersion") != self.server.lease["metadata"]["resourceVersion"]:
                self.reply(409)
            elif sent:
                self.keep(200, sent)


@contextlib.contextmanager
def kubernetes(home):
    """A service account in home, and its API; sets what agents that are started find in their environment."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=kubernetes", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{home}/key.pem",
                    "-out", f"{home}/ca.crt"], check=True, capture_output=True)
    pathlib.Path(home, "token").write_text("t0ken\n", encoding="utf-8")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    server.token, server.lease, server.version, server.problems, server.lock = "t0ken", None, 0, [], threading.Lock()
    server.handle_error = lambda *_: None  # agents are killed
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{home}/ca.crt", f"{home}/key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    rig.QUIET |= {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(server.server_address[1]),
                  "SONDE_KUBERNETES_ACCOUNT": str(home)}
    try:
        yield server
        assert server.problems == [], server.problems
    finally:
        server.shutdown()
        server.server_close()


def in_kubernetes():
    with brokers.redis() as broker, tempfile.TemporaryDirectory(prefix="sonde-") as home, contextlib.ExitStack() as stack:
        collector = f'  redis: {{address: "{broker.address}", interval: 200ms, timeout: 5s, lease: "kubernetes:shop/redis"}}\n'
        for _ in range(3):
            redis(broker.port, "XADD", "orders", "*", "n", "1")
        redis(broker.port, "XGROUP", "CREATE", "orders", "g", "0")

        def start():
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-"))
            return stack.enter_context(Watch(directory, collector))
        check_refused('redis: {lease: "kubernetes:shop/redis"}', "KUBERNETES_SERVICE_HOST")
        api = stack.enter_context(kubernetes(home))
        check_refused('redis: {lease: "kubernetes:Shop"}', "NAMESPACE/NAME")
        first = start()
        first.until(lambda: polls(first), "the first polls")
        second = start()
        second.until(lambda: only_says_that_it_does_not(second), "the second does not")
        holder = api.lease["spec"]["holderIdentity"]
        wait_until(lambda: api.version > 3, "it is renewed")
        assert api.lease["spec"]["holderIdentity"] == holder and not polls(second)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        second.until(lambda: polls(second), "the second takes over when it has run out")
        assert api.lease["spec"]["leaseTransitions"] == 1 and api.lease["spec"]["holderIdentity"] != holder
        api.token = "another"  # it cannot renew: it stops before another could start
        second.until(lambda: bool(second.values("poll_errors_total", error_type="lease")), "it is told")
        assert second.value("poll_leader") == 0 and second.values("consumer_lag") == []
        pathlib.Path(home, "token").write_text("another", encoding="utf-8")  # tokens are replaced every hour
        second.until(lambda: polls(second), "the new token is read")
        assert second.end() == 0, second.log()


def by_a_file():
    with brokers.redis() as broker, tempfile.TemporaryDirectory(prefix="sonde-") as home, contextlib.ExitStack() as stack:
        lease = pathlib.Path(home) / "lease"
        collector = f'  redis: {{address: "{broker.address}", interval: 200ms, timeout: 5s, lease: "file:{lease}"}}\n'
        for _ in range(3):
            redis(broker.port, "XADD", "orders", "*", "n", "1")
        redis(broker.port, "XGROUP", "CREATE", "orders", "g", "0")

        def start():
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-"))
            return stack.enter_context(Watch(directory, collector))
        first = start()
        first.until(lambda: polls(first), "the first polls")
        second = start()
        second.until(lambda: only_says_that_it_does_not(second), "the second does not")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        second.until(lambda: polls(second), "the second takes over")
        third = start()
        third.until(lambda: only_says_that_it_does_not(third), "the third does not")
        lease.unlink()  # what the second holds is worth nothing now; one of them makes a new one
        second, third = one_of(second, third)
        assert second.end() == 0, second.log()
        third.until(lambda: polls(third), "handed over at a stop")
        assert third.end() == 0, third.log()
        lost = stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-"))
        with Watch(lost, collector.replace(str(lease), "/nonexistent/lease")) as watch:
            watch.until(lambda: (watch.value("poll_errors_total", error_type="lease") or 0) > 0, "it is told")
            assert watch.value("poll_leader") == 0 and watch.values("consumer_lag") == []
    check_refused("redis: {lease: everyone}", "lease", "everyone", "file:/PATH")
    check_refused("redis: {leas: x}", "unknown key", "lease")


def make_topic(kafka):
    from kafka import KafkaAdminClient
    from kafka.admin import NewTopic
    admin = KafkaAdminClient(bootstrap_servers=kafka.address)
    admin.create_topics([NewTopic("leases", num_partitions=1, replication_factor=1)])
    admin.close()


def by_kafka():
    with brokers.kafka(more="auto.create.topics.enable=false\n") as kafka, brokers.redis() as broker, contextlib.ExitStack() as stack:
        for _ in range(3):
            redis(broker.port, "XADD", "orders", "*", "n", "1")
        redis(broker.port, "XGROUP", "CREATE", "orders", "g", "0")

        def start(address=kafka.address, more=""):
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sonde-"))
            return stack.enter_context(Watch(
                directory, f'  redis: {{address: "{broker.address}", interval: 200ms, timeout: 5s, '
                f'lease: "kafka:{address}/sonde/redis/leases", lease_properties: {{session.timeout.ms: "3000"{more}}}}}\n'))

        def tells(watch, words):
            watch.until(lambda: (watch.value("poll_errors_total", error_type="lease") or 0) > 0 and words in watch.log(), words)
            assert polls_nothing(watch)
        first = start()
        tells(first, "leases\\\" does not exist")
        make_topic(kafka)
        first.until(lambda: polls(first), "the first polls when the topic is there")
        second = start()
        second.until(lambda: only_says_that_it_does_not(second), "the second does not")
        sasl = ', security.protocol: sasl_plaintext, sasl.mechanisms: PLAIN, sasl.username: sonde, sasl.password: '
        third = start(f"127.0.0.1:{kafka.ports['sasl1']}", f"{sasl}wrong")
        tells(third, "uthentication")
        assert third.end() == 0, third.log()
        third = start(f"127.0.0.1:{kafka.ports['sasl1']}", f"{sasl}right")
        third.until(lambda: only_says_that_it_does_not(third), "nor the third")
        for _ in range(10):  # members that come do not move it
            assert polls(first) and not polls(second) and not polls(third)
        assert first.log().count('msg="has the lease') == 1, first.log()
        first.process.send_signal(signal.SIGSTOP)  # it misses its session, and does not know when it goes on
        holder, other = one_of(second, third)
        first.process.send_signal(signal.SIGCONT)
        first.until(lambda: first.value("poll_leader") == 0, "it stops")
        first.until(lambda: polls_nothing(first) and polls(holder), "the other goes on")
        assert first.log().count('msg="has the lease') == 1 and holder.log().count('msg="has the lease') == 1
        holder.process.send_signal(signal.SIGKILL)
        holder.process.wait()
        holder, third = one_of(first, other)  # when the session is over
        assert holder.end() == 0, holder.log()
        third.until(lambda: polls(third), "handed over at a stop")
        kafka.processes[-1].send_signal(signal.SIGSTOP)  # half-dead: another may have it when the session is over
        third.until(lambda: third.value("poll_leader") == 0, "it stops")
        kafka.processes[-1].send_signal(signal.SIGCONT)
        third.until(lambda: polls(third), "and goes on")
        told = third.value("poll_errors_total", error_type="lease") or 0
        kafka.processes[-1].send_signal(signal.SIGKILL)
        third.until(lambda: (third.value("poll_errors_total", error_type="lease") or 0) > told, "its Kafka is gone")
        assert polls_nothing(third) and (third is first or "Connect" in third.log()), third.log()  # the first told of its topic
        assert third.end() == 0, third.log()
        with liar() as port:  # a stop does not wait for what does not answer
            half_dead = start(f"127.0.0.1:{port}")
            half_dead.until(lambda: only_says_that_it_does_not(half_dead), "it does not poll")
            assert half_dead.end() == 0, half_dead.log()
    check_refused('redis: {lease: "kafka:a:1/g"}', "lease", "kafka:HOST:PORT")
    check_refused('redis: {lease: "kafka:a:1/g/t", lease_properties: {no.such: x}}', "collector", "lease_properties.no.such")


if __name__ == "__main__":
    try:
        if sys.argv[2:] == ["kafka"]:
            by_kafka()
        else:
            by_a_file()
            in_kubernetes()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
