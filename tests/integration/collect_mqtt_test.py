# SPDX-License-Identifier: Apache-2.0
"""The MQTT collector against a real mosquitto. Usage: collect_mqtt_test.py BUILD.
What is true is what this test published and had delivered. Exit 77 (skipped) when there is no mosquitto."""
import pathlib
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
import paho.mqtt.client as mqtt  # noqa: E402
from collect_rig import check_refused, liar, watching  # noqa: E402
from rig import DEADLINE_S  # noqa: E402

TOPIC, QUEUED_MAX = "orders/new", 6
CONFIG = """persistence false
sys_interval 1
max_queued_messages {queued}
password_file {home}/passwords
allow_anonymous false
acl_file {home}/acl
listener {plain} 127.0.0.1
listener {tls} 127.0.0.1
cafile {certs}/cert.pem
certfile {certs}/cert.pem
keyfile {certs}/key.pem
"""


def start(certs):
    def run(server):
        home = server.directory
        for user in ("watcher", "shop", "blind"):
            option = "-c" if user == "watcher" else "-b"
            command = [brokers.find("mosquitto_passwd"), "-b", *(["-c"] if option == "-c" else []), str(home / "passwords"), user, "secret"]
            subprocess.run(command, check=True, capture_output=True)
        (home / "acl").write_text("user watcher\ntopic read $SYS/#\nuser shop\ntopic readwrite #\ntopic read $SYS/#\nuser blind\ntopic read nothing\n")
        for name in ("passwords", "acl"):
            (home / name).chmod(0o644)
        home.chmod(0o755)
        (home / "mosquitto.conf").write_text(CONFIG.format(home=home, certs=certs, plain=server.port, tls=server.ports["tls"],
                                                           queued=QUEUED_MAX))
        server.run([brokers.find("mosquitto"), "-c", str(home / "mosquitto.conf")])
        server.wait(brokers.asks(b"\x10\x10\x00\x04MQTT\x04\x02\x00\x0a\x00\x04test", b"\x20\x02\x00\x05"))
    return brokers.started(run, "main", "tls")


class Client:
    """A paho client that is connected; clean_session false: what is published while it is away waits for it."""

    def __init__(self, port, name, clean=True):
        self.got, self.ready, self.subscribed = [], threading.Event(), threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean)
        self.client.username_pw_set("shop", "secret")
        self.client.on_connect = lambda *_: self.ready.set()
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda _client, _user, message: self.got.append(message.payload)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.ready.wait(DEADLINE_S)

    def subscribe(self):
        self.client.subscribe(TOPIC, qos=1)
        assert self.subscribed.wait(DEADLINE_S)

    def publish(self, count):
        for i in range(count):
            self.client.publish(TOPIC, b"%d" % i, qos=1).wait_for_publish(DEADLINE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()


def collector(port, name="mqtt", more="username: watcher, password: secret, timeout: 5s"):
    return f'  {name}: {{address: "127.0.0.1:{port}", interval: 200ms, {more}}}\n'


def backlog_is_published_minus_delivered(broker, watch):
    of = {"server_port": str(broker.port)}
    watch.until_value(1, "poll_up", **of)
    watch.until_value(0, "queue_message", state="ready", estimate="floor", **of)
    with Client(broker.port, "reader", clean=False) as reader:
        reader.subscribe()
        watch.until_value(1, "queue_subscription", kind="plain", **of)
    with Client(broker.port, "writer") as writer:
        writer.publish(4)
        watch.until_value(4, "queue_message", state="ready", **of)
        watch.until_value(1, "client_active", state="disconnected", **of)
        assert watch.values("consumer_active", **of) == []  # nobody says who of them consumes
        watch.until_value(4, "queue_published_total", **of)
        assert watch.value("queue_message", state="retained", **of) > 0  # those of $SYS; they wait for nobody
        assert watch.value("queue_dropped_total", **of) == 0
        writer.publish(10)  # more than are queued for one who is away
        watch.until_value(4 + 10 - QUEUED_MAX, "queue_dropped_total", **of)
        watch.until_value(QUEUED_MAX, "queue_message", state="ready", **of)
        watch.until_value(14, "queue_published_total", **of)
        watch.until(lambda: watch.exported("queue.message", state="ready", **of) == [QUEUED_MAX], "OTLP")
        watch.until(lambda: watch.exported("queue.dropped", **of) != [], "OTLP of what was dropped")
    with Client(broker.port, "reader", clean=False) as reader:
        watch.until(lambda: len(reader.got) == QUEUED_MAX, "they are delivered")
        watch.until_value(0, "queue_message", state="ready", **of)
    assert watch.values("consumer_lag") == [], "nobody knows a lag"


def broker_that_goes_and_comes_back(broker, watch):
    of, process = {"server_port": str(broker.port)}, broker.processes.pop()
    process.kill()
    process.wait()
    watch.until_value(0, "poll_up", **of)
    watch.until(lambda: watch.values("queue_message", **of) == [], "unknown is absent")
    broker.run(process.args)
    watch.until_value(1, "poll_up", **of)
    watch.until_value(0, "queue_dropped_total", **of)


def main():
    with tempfile.TemporaryDirectory(prefix="sonde-") as certs:
        pathlib.Path(certs).chmod(0o755)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=broker", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", f"{certs}/key.pem",
                        "-out", f"{certs}/cert.pem"], check=True, capture_output=True)
        pathlib.Path(certs, "key.pem").chmod(0o644)
        with start(certs) as broker, liar() as silent, liar(b"HTTP/1.1 400 Bad Request\r\n\r\n") as garbage:
            tls, user = broker.ports["tls"], "username: watcher, password: secret"
            as_name = f'  mqtt/named: {{address: "localhost:{tls}", protocol: "5", {user}, tls: {{enabled: true, ca_file: {certs}/cert.pem}}}}\n'
            with watching(collector(broker.port) + as_name + collector(silent, "mqtt/silent", "timeout: 100ms")
                          + collector(garbage, "mqtt/garbage")) as watch:
                backlog_is_published_minus_delivered(broker, watch)
                watch.until_value(1, "poll_up", server_port=str(tls))
                watch.until_down("timeout", server_port=str(silent))
                watch.until_value(0, "poll_up", server_port=str(garbage))
                broker_that_goes_and_comes_back(broker, watch)
            with watching(collector(tls, "mqtt/untrusted", f"{user}, tls: {{enabled: true}}")) as watch:
                watch.until_down("tls")
            for trouble, more in (("auth", "username: watcher, password: wrong"), ("auth", "username: x, protocol: '5'"),
                                  ("auth", "username: blind, password: secret")):
                with watching(collector(broker.port, more=more)) as watch:
                    watch.until(lambda: (watch.value("poll_errors_total") or 0) > 0, f"{trouble} of {more}")
                    assert watch.values("poll_errors_total", error_type=trouble) or "blind" in more, watch.series()
                    assert watch.value("poll_up") == 0
    closed = brokers.free_ports("p")["p"]
    with watching(collector(closed)) as watch:
        watch.until_down("connect")
    check_refused("mqtt: {address: 'mqtt://x'}", "address", "HOST")
    check_refused("mqtt: {password: x}", "password", "username")
    check_refused("mqtt: {tls: {ca_file: x}}", "tls.enabled")


if __name__ == "__main__":
    try:
        main()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
