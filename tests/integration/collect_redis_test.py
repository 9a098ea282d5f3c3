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
from collect_rig import check_refused, liar, watching  # noqa: E402


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


if __name__ == "__main__":
    try:
        over_tls()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
