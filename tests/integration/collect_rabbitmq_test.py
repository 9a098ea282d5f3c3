# SPDX-License-Identifier: Apache-2.0
"""The RabbitMQ collector against a real server: management API, Prometheus endpoint and AMQP, of classic and quorum queues and
streams. Usage: collect_rabbitmq_test.py BUILD whole|restart. What is true is what this test published, took and acknowledged, and when.
Exit 77 (skipped) when there is no rabbitmq-server."""
import asyncio
import base64
import contextlib
import json
import pathlib
import signal
import sys
import threading
import time
import urllib.request
from urllib.parse import quote

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
import pika  # noqa: E402
import rstream  # noqa: E402
from collect_rig import check_refused, liar, watching  # noqa: E402
from rig import wait_until  # noqa: E402

PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus", "rabbitmq_stream", "rabbitmq_stream_management")
VHOST = "team/a b"  # neither may end up in a path as it is
PUBLISHED, TAKEN, UNACKED, AGE_S = 10, 4, 1, 100
READY = PUBLISHED - TAKEN - UNACKED
CONFIG = """\
collect_statistics_interval = 500
management.sample_retention_policies.global.minute = 1
management.sample_retention_policies.basic.minute = 1
management.sample_retention_policies.detailed.10 = 1
stream.listeners.tcp.1 = 127.0.0.1:{stream}
stream.advertised_host = 127.0.0.1
stream.advertised_port = {stream}
"""
TICKS = "-rabbit quorum_tick_interval 500 -rabbit stream_tick_interval 500"  # how often queues tell their figures; 5 s else


def api(broker, method, path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{broker.ports['management']}/api{path}", method=method,
                                     data=None if body is None else json.dumps(body).encode())
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read() or b"null")


@contextlib.contextmanager
def channel_to(broker, vhost="/"):
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", broker.port, vhost, heartbeat=0))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        yield channel
    finally:
        with contextlib.suppress(pika.exceptions.AMQPError):  # the server may be dead by now
            connection.close()


def publish(channel, queue, count, timestamp=None):
    for _ in range(count):
        channel.basic_publish("", queue, b"x" * 100, pika.BasicProperties(delivery_mode=2, timestamp=timestamp))


def take(channel, queue, acked, unacked=0):
    for i in range(acked + unacked):
        method, _, _ = channel.basic_get(queue)
        if i < acked:
            channel.basic_ack(method.delivery_tag)


class Reader(threading.Thread):
    """A reader of a stream by the stream protocol, which stands still when it is told."""

    def __init__(self, broker, stream, name):
        super().__init__(daemon=True)
        self.broker, self.stream, self.named = broker, stream, name
        self.go, self.seen = threading.Event(), 0
        self.go.set()
        self.loop = asyncio.new_event_loop()
        self.start()

    def run(self):
        self.loop.run_until_complete(self.read())

    def on_message(self, *_):
        self.go.wait(60)  # the loop stands, so nothing is read
        self.seen += 1

    async def read(self):
        self.ended = asyncio.Event()
        consumer = rstream.Consumer(host="127.0.0.1", port=self.broker.ports["stream"], username="guest", password="guest")
        await consumer.start()
        await consumer.subscribe(self.stream, self.on_message, initial_credit=1, properties={"name": self.named},
                                 offset_specification=rstream.ConsumerOffsetSpecification(rstream.OffsetType.FIRST, None))
        await self.ended.wait()
        await consumer.close()

    def end(self):
        self.go.set()
        self.loop.call_soon_threadsafe(self.ended.set)
        self.join(60)


def of_poll(broker, source):
    return {"server_address": "127.0.0.1", "server_port": str(broker.ports[source])}


def of(broker, source, queue, **more):
    return of_poll(broker, source) | {"messaging_destination_name": queue, "messaging_rabbitmq_vhost": "/"} | more


SOURCES = ("management", "prometheus", "main")


def messages_are_published_minus_taken(broker, watch, started):
    for source in SOURCES:
        for queue, ready in (("orders", READY), ("audit", READY), ("empty", 0)):
            watch.until_value(ready, "consumer_lag", **of(broker, source, queue))
            watch.until_value(ready, "queue_message", state="ready", **of(broker, source, queue))
            if source != "main":
                unacked = UNACKED if ready else 0
                watch.until_value(unacked, "queue_message", state="unacked", **of(broker, source, queue))
        watch.until_value(PUBLISHED, "queue_message", state="retained", **of(broker, source, "log"))
        assert watch.values("queue_message", state="ready", **of(broker, source, "log")) == [], "a stream has nothing that waits"
        watch.until_value(1, "consumer_active", **of(broker, source, "empty"))
        watch.until_value(0, "consumer_active", **of(broker, source, "orders"))
        assert watch.values("consumer_lag", **of(broker, source, "private")) == []
        watch.until(lambda: watch.exported("consumer.lag", **of(broker, source, "orders")) == [READY], "OTLP")
    for source in ("management", "prometheus"):
        watch.until_value((PUBLISHED - TAKEN) * 100, "queue_size_bytes", **of(broker, source, "orders"))
        age = watch.until(lambda: watch.value("queue_oldest_message_age_seconds", **of(broker, source, "orders")), "age")
        assert AGE_S - 2 < age < AGE_S + time.time() - started + 2, age
    watch.until_value(0, "queue_oldest_message_age_seconds", **of(broker, "management", "empty"))
    assert watch.values("queue_oldest_message_age_seconds", **of(broker, "management", "audit")) == [], "quorum queues have none"
    for metric, value in (("published", PUBLISHED), ("delivered", TAKEN + UNACKED), ("acked", TAKEN)):
        watch.until_value(value, f"queue_{metric}_total", **of(broker, "management", "orders"))
    other = {"messaging_rabbitmq_vhost": VHOST, "messaging_destination_name": "tasks/ä"}
    watch.until_value(3, "consumer_lag", **of_poll(broker, "management"), **other)
    watch.until_value(3, "consumer_lag", **of_poll(broker, "prometheus"), **other)
    cluster = api(broker, "GET", "/cluster-name")["name"]
    for source in SOURCES:
        watch.until_value(1, "poll_up", **of_poll(broker, source), messaging_rabbitmq_cluster_name=cluster)
        assert watch.value("poll_truncated", **of_poll(broker, source)) == 0


def lag_of_a_stream_is_what_its_reader_has_before_it(broker, watch):
    of_reader = of(broker, "management", "log", messaging_consumer_group_name="billing")
    reader = Reader(broker, "log", "billing")
    try:
        wait_until(lambda: reader.seen == PUBLISHED, "the reader reads all")
        watch.until_value(0, "consumer_lag", **of_reader)
        watch.until_value(1, "consumer_active", **of(broker, "management", "log"))
        reader.go.clear()
        with channel_to(broker) as channel:
            publish(channel, "log", 20)  # confirmed one by one: at least a chunk each
        lag = watch.until(lambda: (watch.value("consumer_lag", **of_reader) or 0) > 10 and watch.value("consumer_lag", **of_reader), "lag")
        told = [c["offset_lag"] for c in api(broker, "GET", "/stream/consumers") if c["queue"]["name"] == "log"]
        assert 20 - 3 <= lag <= 20 and told == [lag], (lag, told)
        assert watch.value("consumer_offset", **of_reader) >= PUBLISHED - 1
        watch.until_value(PUBLISHED + 20, "queue_message", state="retained", **of(broker, "management", "log"))
        reader.go.set()
        watch.until_value(0, "consumer_lag", **of_reader)
    finally:
        reader.end()
    watch.until(lambda: watch.values("consumer_lag", **of_reader) == [], "who does not read has no lag that is known")


def troubles_are_told_and_harm_no_others(broker, watch, silent, garbage):
    for port in (broker.ports["management"], broker.port):
        watch.until(lambda: watch.values("poll_errors_total", error_type="auth", server_port=str(port)), "a wrong password")
    watch.until_down("timeout", server_port=str(silent))
    watch.until_down("protocol", server_port=str(garbage))
    watch.until(lambda: watch.value("poll_errors_total", error_type="not_found", **of_poll(broker, "main")), "a missing queue")
    names = {q["name"] for q in api(broker, "GET", "/queues")}
    assert "missing" not in names, "asking for a queue makes none"
    # auto: the management port is one where nothing listens
    watch.until(lambda: watch.value("consumer_lag", server_port="1", messaging_destination_name="orders") == READY, "auto")
    watch.until(lambda: 1 in watch.values("poll_truncated", server_address="localhost"), "one queue of two is left out")
    watch.until(lambda: watch.values("poll_errors_total", error_type="not_found", server_address="localhost"), "a missing vhost")


def server_that_stands_still_and_goes_on(broker, watch):
    broker.processes[-1].send_signal(signal.SIGSTOP)
    for source in SOURCES:
        watch.until_down("timeout", **of_poll(broker, source))
        watch.until(lambda: watch.values("consumer_lag", **of(broker, source, "orders")) == [], "unknown is absent")
    broker.processes[-1].send_signal(signal.SIGCONT)
    for source in SOURCES:
        watch.until_value(READY, "consumer_lag", **of(broker, source, "orders"))
        watch.until_value(1, "poll_up", **of_poll(broker, source))


def server_that_dies(broker, watch):
    process = broker.processes.pop()
    process.kill()
    process.wait()
    for source in SOURCES:
        watch.until_down("connect", **of_poll(broker, source))
    return process


def server_that_dies_and_comes_back(broker, watch):
    process = server_that_dies(broker, watch)
    broker.run(process.args, broker.env)
    broker.wait(brokers.asks(b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"))
    for source in SOURCES:
        watch.until_value(READY + UNACKED, "consumer_lag", **of(broker, source, "orders"))
        watch.until_value(1, "poll_up", **of_poll(broker, source))


def collectors(broker, silent, garbage):
    ports = broker.ports
    common = 'interval: 300ms, detail_interval: 300ms, timeout: 2s, streams: ["log"]'
    queues = "queues: [orders, missing, audit, private, empty, log]"
    return (
        f'  rabbitmq: {{addresses: ["127.0.0.1:{ports["management"]}"], exclude: ["priv.*"], stream_offsets: true, {common}}}\n'
        f'  rabbitmq/p: {{source: prometheus, addresses: ["127.0.0.1:{ports["prometheus"]}"], exclude: ["priv.*"], {common}}}\n'
        f'  rabbitmq/a: {{source: amqp, addresses: ["127.0.0.1:{ports["main"]}"], exclude: ["priv.*"], {queues}, {common}}}\n'
        f'  rabbitmq/auto: {{addresses: ["127.0.0.1:1"], prometheus_port: {ports["prometheus"]}, include: [orders], {common}}}\n'
        f'  rabbitmq/no_api: {{addresses: ["localhost:{ports["management"]}"], source: management, password: bad, {common}}}\n'
        f'  rabbitmq/no_amqp: {{addresses: ["localhost:{ports["main"]}"], source: amqp, {queues}, password: bad, {common}}}\n'
        f'  rabbitmq/silent: {{addresses: ["127.0.0.1:{silent}"], source: management, interval: 300ms, timeout: 300ms}}\n'
        f'  rabbitmq/garbage: {{addresses: ["127.0.0.1:{garbage}"], source: management, {common}}}\n'
        f'  rabbitmq/vhost: {{addresses: ["localhost:{ports["management"]}"], vhosts: ["{VHOST}", "none"], queues_max: 1, page_size: 1, '
        f'{common}}}\n')


def prepare(broker):
    api(broker, "PUT", "/vhosts/" + quote(VHOST, safe=""), {})
    api(broker, "PUT", f"/permissions/{quote(VHOST, safe='')}/guest", {"configure": ".*", "write": ".*", "read": ".*"})
    with channel_to(broker, VHOST) as channel:
        for queue in ("tasks/ä", "tasks/b"):
            channel.queue_declare(queue, durable=True)
            publish(channel, queue, 3)


def main(what):
    check_refused('rabbitmq: {addresses: ["user:pw@host"]}', "addresses", "HOST:PORT")
    check_refused("rabbitmq: {source: amqp}", "queues", "name them")
    check_refused("rabbitmq: {source: telepathy}", "source", "management")
    check_refused("rabbitmq: {source: amqp, queues: [q], tls: {enabled: true}}", "tls.ca_file", "name a file")
    check_refused('rabbitmq: {include: ["(("]}', "include", "((")
    check_refused("rabbitmq: {tls: {cert_file: x}}", "tls", "key_file")
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(brokers.rabbitmq(PLUGINS, CONFIG, TICKS))
        silent, garbage = (stack.enter_context(liar(says)) for says in (b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n[1,2"))
        prepare(broker)
        channel = stack.enter_context(channel_to(broker))
        started = time.time()
        for queue, kind in (("orders", "classic"), ("audit", "quorum"), ("log", "stream"), ("empty", "classic"), ("private", "classic")):
            channel.queue_declare(queue, durable=True, arguments={"x-queue-type": kind})
        for queue in ("orders", "audit", "log"):
            publish(channel, queue, PUBLISHED, int(started) - AGE_S)
        for queue in ("orders", "audit"):
            take(channel, queue, TAKEN, UNACKED)
        channel.basic_consume("empty", lambda *_: None)
        with watching(collectors(broker, silent, garbage)) as watch:
            timed(messages_are_published_minus_taken, broker, watch, started)
            if what == "restart":
                timed(server_that_dies_and_comes_back, broker, watch)
            else:
                timed(troubles_are_told_and_harm_no_others, broker, watch, silent, garbage)
                timed(lag_of_a_stream_is_what_its_reader_has_before_it, broker, watch)
                timed(server_that_stands_still_and_goes_on, broker, watch)
                timed(server_that_dies, broker, watch)
            assert "bad" not in watch.log().replace("bad_", "")


def timed(case, *arguments):
    begin = time.monotonic()
    case(*arguments)
    print(f"ok {case.__name__} {time.monotonic() - begin:.1f} s", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[2])
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
