# SPDX-License-Identifier: Apache-2.0
"""The Redis collector against real redis-servers: TLS, and a cluster of three. Usage: collect_redis_test.py BUILD.
(tests/unit/agent/redis_test.c has the rest.) What is true is what this test added and read. Exit 77 (skipped) when there is no
redis-server."""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
from collect_rig import check_refused, liar, wait_until, watching  # noqa: E402


def redis(port, *words, tls=()):
    done = subprocess.run([brokers.find("redis-cli"), "-p", str(port), *tls, *map(str, words)], capture_output=True, text=True, timeout=60,
                          check=False)
    assert done.returncode == 0 and not done.stdout.startswith(("ERR", "MOVED", "(error)")), (words, done)
    return done.stdout


def certificate(home):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", f"{home}/key.pem",
                    "-out", f"{home}/cert.pem"], check=True, capture_output=True)


def over_tls():
    def start(server):
        home = server.directory
        certificate(home)
        server.run([brokers.find("redis-server"), "--bind", "127.0.0.1", "--port", str(server.port), "--tls-port",
                    str(server.ports["tls"]), "--tls-cert-file", f"{home}/cert.pem", "--tls-key-file", f"{home}/key.pem",
                    "--tls-ca-cert-file", f"{home}/cert.pem", "--save", "", "--appendonly", "no", "--dir", str(home)])
        server.wait(brokers.asks(b"PING\r\n", b"+PONG"))

    with brokers.started(start, "main", "tls") as broker, liar() as silent:
        home, port = broker.directory, broker.ports["tls"]
        ours = f"ca_file: {home}/cert.pem, cert_file: {home}/cert.pem, key_file: {home}/key.pem"

        def collector(name, address, tls, more="interval: 200ms, timeout: 5s"):
            return f'  {name}: {{address: "{address}", {more}, tls: {{enabled: true, {tls}}}}}\n'
        redis(broker.port, "XGROUP", "CREATE", "orders", "g", "0", "MKSTREAM")
        for _ in range(5):
            redis(broker.port, "XADD", "orders", "*", "n", "x")
        redis(broker.port, "XREADGROUP", "GROUP", "g", "c", "COUNT", 2, "STREAMS", "orders", ">")
        with watching(collector("redis", f"127.0.0.1:{port}", ours) + collector("redis/name", f"localhost:{port}", ours)) as watch:
            for address in ("127.0.0.1", "localhost"):
                watch.until_value(3, "consumer_lag", server_address=address, messaging_destination_name="orders")
                assert watch.value("queue_message", state="unacked", server_address=address) == 2
            watch.until(lambda: watch.exported("consumer.lag", server_address="localhost") == [3], "OTLP")
            for _ in range(4):
                redis(broker.port, "XADD", "orders", "*", "n", "y" * 20000)  # replies over many records
            watch.until_value(7, "consumer_lag", server_address="127.0.0.1")
            process = broker.processes.pop()
            process.kill()
            process.wait()
            watch.until_value(0, "poll_up", server_address="127.0.0.1")
            broker.run(process.args)
            watch.until_value(1, "poll_up", server_address="127.0.0.1")
        for trouble, address, tls in (("tls", f"127.0.0.1:{port}", ""), ("tls", f"127.0.0.1:{port}", f"ca_file: {home}/cert.pem"),
                                      ("tls", f"127.0.0.1:{broker.port}", ours), ("tls", f"127.0.0.1:{port}", "ca_file: /nonexistent")):
            with watching(collector("redis", address, tls)) as watch:
                watch.until_value(0, "poll_up")
                watch.until(lambda: watch.values("poll_errors_total", error_type=trouble)
                            or watch.values("poll_errors_total", error_type="closed"), f"{trouble} {tls}")
        with watching(collector("redis", f"127.0.0.1:{silent}", ours, "timeout: 100ms")) as watch:
            watch.until_down("timeout")
    check_refused("redis: {tls: {enabled: true}, address: 'unix:/x'}", "tls", "Unix")
    check_refused("redis: {tls: {ca_file: x}}", "tls.enabled")


def in_a_cluster():
    nodes = ("main", "b", "c")

    def start(server):
        for name in nodes:
            home = server.directory / name
            home.mkdir()
            server.run([brokers.find("redis-server"), "--bind", "127.0.0.1", "--port", str(server.ports[name]), "--save", "", "--appendonly",
                        "no", "--dir", str(home), "--cluster-enabled", "yes", "--cluster-port", str(server.ports["bus_" + name]),
                        "--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"], log=f"{name}.log")
        for name in nodes:
            server.wait(brokers.asks(b"PING\r\n", b"+PONG"), server.ports[name])

    with brokers.started(start, *nodes, *(f"bus_{name}" for name in nodes)) as broker:
        ports = [broker.ports[name] for name in nodes]
        starts = [(0, 5460), (5461, 10922), (10923, 16383)]
        for port, (first, last) in zip(ports, starts):
            redis(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
            redis(port, "CONFIG", "SET", "cluster-allow-reads-when-down", "yes")
        for port, name in zip(ports[1:], nodes[1:]):
            redis(port, "CLUSTER", "MEET", "127.0.0.1", broker.port, broker.ports["bus_main"])
        wait_until(lambda: all("cluster_state:ok" in redis(p, "CLUSTER", "INFO") and "cluster_known_nodes:3" in redis(p, "CLUSTER", "INFO")
                               for p in ports), "the cluster")
        streams = {f"s{i}": i + 2 for i in range(8)}  # over all three, as their names fall
        for stream, count in streams.items():
            redis(ports[0], "XGROUP", "CREATE", stream, "g", "0", "MKSTREAM", tls=("-c",))
            for _ in range(count):
                redis(ports[0], "XADD", stream, "*", "n", 1, tls=("-c",))
            redis(ports[0], "XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", stream, ">", tls=("-c",))
        of = {"server_port": str(ports[0])}
        config = f'address: "127.0.0.1:{ports[0]}", interval: 200ms, timeout: 10s'
        with watching(f"  redis: {{{config}, cluster: true}}\n") as watch:
            lags = lambda: {l["messaging_destination_name"]: v for n, l, v in watch.series() if n == "sonde_messaging_consumer_lag"}
            wanted = {stream: count - 1 for stream, count in streams.items()}
            watch.until(lambda: lags() == wanted, f"lags {wanted}")
            assert watch.value("poll_up", **of) == 1 and watch.values("poll_errors_total") == [], watch.series()
            # A stream on its way to another node: ASK, then MOVED. Nothing is lost, and nothing is an error.
            slot = int(redis(ports[0], "CLUSTER", "KEYSLOT", "s1"))
            source = next(p for p, (first, last) in zip(ports, starts) if first <= slot <= last)
            target = next(p for p in ports if p != source)
            ids = {p: redis(p, "CLUSTER", "MYID").strip() for p in ports}
            redis(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
            redis(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
            redis(source, "MIGRATE", "127.0.0.1", target, "s1", 0, 10000)
            done = watch.value("poll_last_success_timestamp_seconds")
            watch.until(lambda: watch.value("poll_last_success_timestamp_seconds") > done + 1, "polls")
            assert lags() == wanted, lags()
            for port in ports:
                redis(port, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])
            done = watch.value("poll_last_success_timestamp_seconds")
            watch.until(lambda: watch.value("poll_last_success_timestamp_seconds") > done + 1, "polls")
            watch.until(lambda: lags() == wanted, "they are all there")
            assert watch.values("poll_errors_total") == [], watch.series()
            slots = {stream: int(redis(ports[0], "CLUSTER", "KEYSLOT", stream)) for stream in streams}
            owned = [{s for s in streams if first <= slots[s] <= last} for first, last in starts]
            gone = max((1, 2), key=lambda i: len(owned[i]))  # this primary: its streams are unknown, the others are told
            left = {s: lag for s, lag in wanted.items() if s not in owned[gone] or (s == "s1" and target != ports[gone])}
            left.pop("s1" if target == ports[gone] else None, None)
            broker.processes[gone].kill()
            broker.processes[gone].wait()
            watch.until(lambda: watch.values("poll_errors_total", error_type="connect"), "it is told")
            watch.until(lambda: lags() == left, f"lags {left}")
            assert 0 < len(left) < len(wanted) and watch.value("poll_up", **of) == 1, left
        named = f"  redis: {{{config}, cluster: true, streams: [{', '.join(left)}]}}\n"
        with watching(named) as watch:
            watch.until(lambda: len(watch.values("consumer_lag")) == len(left), "those that are named")
        with watching(f"  redis: {{{config}, streams: [{', '.join(wanted)}]}}\n") as watch:
            watch.until(lambda: (watch.value("poll_errors_total", error_type="moved") or 0) > 0, "cluster: true is missing")
    check_refused("redis: {cluster: true, database: 3}", "cluster")


if __name__ == "__main__":
    try:
        over_tls()
        in_a_cluster()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
