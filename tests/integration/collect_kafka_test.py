# SPDX-License-Identifier: Apache-2.0
"""sonded polls Kafka: a real broker whose topics and groups the test makes, and servers that are none.
Usage: collect_kafka_test.py BUILD one|three|consumer_protocol."""
import contextlib
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
from collect_rig import Watch, liar  # noqa: E402
from rig import SONDED, wait_until  # noqa: E402

try:
    from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
    from kafka.admin import NewTopic
    from kafka.structs import OffsetAndMetadata
except ImportError:
    print("skipped: kafka-python is not installed")
    sys.exit(77)

INTERVAL_S = 0.5
SLACK = 0.2  # of an interval: timers and the broker's clock


def collector(addresses, name="kafka", more=""):
    return (f"  {name}: {{brokers: [{', '.join(addresses)}], interval: {int(INTERVAL_S * 1000)}ms, timeout: 20s, "
            f"request_timeout: 10s{', ' if more else ''}{more}}}\n")


class Cluster:
    """What the test does to it, as its clients do."""

    def __init__(self, address, copies=1):
        self.address, self.copies = address, copies
        self.admin = KafkaAdminClient(bootstrap_servers=address)
        self.producer = KafkaProducer(bootstrap_servers=address, linger_ms=0)

    def topics(self, **partitions):
        self.admin.create_topics([NewTopic(name, num_partitions=count, replication_factor=self.copies)
                                  for name, count in partitions.items()])
        for name in partitions:
            wait_until(lambda n=name: self.producer.partitions_for(n), f"topic {name}")

    def produce(self, topic, count, partition=0, producer=None):
        """The times at which the first and the last were written, as the broker has them."""
        producer = producer or self.producer
        sent = [producer.send(topic, b"x" * 20, partition=partition) for _ in range(count)]
        producer.flush()
        return [f.get(30).timestamp / 1000 for f in (sent[0], sent[-1])]

    def commit(self, group, topic, **offsets):
        """As a consumer that assigns partitions to itself does; offsets by p0, p1, ..."""
        consumer = KafkaConsumer(bootstrap_servers=self.address, group_id=group, enable_auto_commit=False)
        parts = {TopicPartition(topic, int(p[1:])): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}
        consumer.assign(list(parts))
        consumer.commit(parts)
        consumer.close(autocommit=False)

    def close(self):
        self.producer.close(timeout=5)
        self.admin.close()


class Member:
    """A consumer that subscribes, in a thread that keeps it in its group."""

    def __init__(self, address, group, topic, **options):
        self.consumer = KafkaConsumer(topic, bootstrap_servers=address, group_id=group, enable_auto_commit=False,
                                      auto_offset_reset="earliest", max_poll_records=1, **options)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.is_set():
            self.consumer.poll(100)

    def close(self):
        self.stop.set()
        self.thread.join()
        self.consumer.close(autocommit=False)


def of(group, topic):
    return {"messaging_consumer_group_name": group, "messaging_destination_name": topic}


def seconds_off(watch, truth, **labels):
    """How far from the truth a scrape has the time at which what is read next was written, in poll intervals, and how it was
    found. A poll asks at some time within its duration."""
    series = watch.series()
    (got, value), = [(l, v) for n, l, v in series if n == "sonde_messaging_consumer_lag_time_seconds" and l.items() >= labels.items()]
    polled, duration = ([v for n, l, v in series if n == f"sonde_messaging_poll_{name}" and l["server_port"] == got["server_port"]][0]
                        for name in ("last_success_timestamp_seconds", "duration_seconds"))
    written = polled - value
    off = max(written - duration - truth, truth - written, 0)
    return off / max(INTERVAL_S, duration), got["estimate"]


def lag_is_produced_minus_committed(cluster, watch):
    watch.until_value(30 - 12, "consumer_lag", **of("billing", "orders"))
    assert watch.value("partition_lag", messaging_destination_partition_id="1", **of("billing", "orders")) == 20 - 2
    assert watch.value("consumer_offset", messaging_destination_partition_id="0", **of("billing", "orders")) == 10
    assert watch.value("consumer_partitions", state="committed", **of("billing", "orders")) == 2
    assert watch.value("consumer_partitions", state="uncommitted", **of("billing", "orders")) == 1
    assert watch.values("consumer_lag", messaging_consumer_group_name="private") == []
    assert watch.values("consumer_lag", messaging_destination_name="__consumer_offsets") == []
    for kind, offset in (("earliest", 0), ("end", 20), ("stable", 20)):
        watch.until_value(offset, "partition_offset", kind=kind, messaging_destination_name="orders", messaging_destination_partition_id="1")
    cluster.commit("billing", "orders", p0=10, p1=20, p2=0)
    watch.until_value(0, "consumer_lag", **of("billing", "orders"))
    labels, = [l for n, l, v in watch.series() if n == "sonde_messaging_consumer_lag" and l.items() >= of("billing", "orders").items()]
    assert labels["messaging_system"] == "kafka" and labels["server_address"] == "127.0.0.1", labels
    assert len(labels["messaging_kafka_cluster_id"]) > 10, labels
    assert watch.value("consumer_lag_time_seconds", estimate="interpolated", **of("billing", "orders")) == 0
    watch.until(lambda: watch.exported("consumer.lag", **of("billing", "orders")) == [0], "OTLP")
    watch.until(lambda: watch.exported("consumer.lag.time", estimate="exact", **of("exact", "orders")) == [0], "OTLP of seconds")


def seconds_are_true(cluster, watch):
    """Within a poll interval of when the first unread record was written; exactly where records are asked."""
    first, _ = cluster.produce("orders", 5)
    watch.until_value(5, "consumer_lag", **of("billing", "orders"))
    watch.until_value(5, "consumer_lag", **of("exact", "orders"))
    cluster.produce("orders", 5)
    watch.until_value(10, "consumer_lag", **of("billing", "orders"))
    watch.until(lambda: (watch.value("consumer_lag_time_seconds", **of("billing", "orders")) or 0) > 2 * INTERVAL_S, "they wait")
    off, estimate = seconds_off(watch, first, **of("billing", "orders"))
    assert estimate == "interpolated" and off <= 1 + SLACK, (off, estimate)
    exactly_off, estimate = seconds_off(watch, first, **of("exact", "orders"))
    assert estimate == "exact" and exactly_off <= SLACK, (exactly_off, estimate)
    print(f"seconds: off by {off:.3f} poll intervals, exact by {exactly_off:.3f}", flush=True)
    return first


def groups_come_and_go(cluster, watch, other):
    """other: the port by which an agent sees them that does not keep what was deleted."""
    member = cluster.member
    try:
        watch.until_value(1, "consumer_group_state", state="stable", messaging_consumer_group_name="shop")
        assert watch.value("consumer_active", messaging_consumer_group_name="shop") == 1
        assert watch.value("consumer_partitions", state="uncommitted", **of("shop", "orders")) == 3
        assert watch.values("consumer_lag", messaging_consumer_group_name="shop") == []  # never committed
    finally:
        member.close()
    watch.until_value(1, "consumer_group_state", state="empty", messaging_consumer_group_name="billing")
    assert watch.value("consumer_active", messaging_consumer_group_name="billing") == 0
    watch.until_value(1, "consumer_progress", state="stop", **of("gone", "orders"))
    watch.until(lambda: watch.values("consumer_lag", messaging_consumer_group_name="gone", server_port=other), "it is there")
    cluster.admin.delete_groups(["gone", "kept"])
    watch.until(lambda: watch.values("consumer_lag", messaging_consumer_group_name="gone", server_port=other) == [], "it is gone")
    assert watch.values("consumer_group_state", messaging_consumer_group_name="gone", server_port=other) == []
    watch.until_value(1, "consumer_group_state", state="dead", messaging_consumer_group_name="kept")
    assert watch.value("consumer_lag", **of("kept", "orders")) is not None


def retention_overtakes(cluster, watch):
    cluster.admin.delete_records({TopicPartition("logs", 0): 6})
    watch.until_value(4, "consumer_lag_expired", **of("reader", "logs"))
    watch.until_value(10 - 6, "consumer_lag", **of("reader", "logs"))
    assert watch.value("consumer_partitions", state="expired", **of("reader", "logs")) == 1


def begun(work):
    """Runs in a thread; what is returned waits for the result."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    return lambda: thread.join() or found[0]


def transactional(address):
    producer = KafkaProducer(bootstrap_servers=address, transactional_id="t1", linger_ms=0)
    producer.init_transactions()
    return producer


def transactions_hold_back(cluster, watch):
    producer = cluster.transactional()
    producer.begin_transaction()
    cluster.produce("payments", 5, producer=producer)
    watch.until_value(5, "consumer_lag", **of("dirty", "payments"))
    assert watch.value("consumer_lag", **of("stable", "payments")) == 0
    watch.until_value(0, "partition_offset", kind="stable", messaging_destination_name="payments")
    producer.commit_transaction()
    watch.until_value(6, "consumer_lag", **of("stable", "payments"))  # the marker takes an offset
    producer.close(timeout=5)
    cluster.commit("exact", "payments", p0=5)
    watch.until_value(1, "consumer_lag", **of("exact", "payments"))
    watch.until_value(0, "consumer_lag_time_seconds", estimate="exact", **of("exact", "payments"))  # only the marker is left


def broker_that_hangs(server, watch):
    quick = {"server_address": "127.0.0.1", "server_port": str(server.ports["sasl1"])}
    server.processes[-1].send_signal(signal.SIGSTOP)
    try:
        watch.until_down("timeout", **quick)
        watch.until(lambda: watch.values("consumer_lag", **quick) == [], "unknown is absent")
    finally:
        server.processes[-1].send_signal(signal.SIGCONT)
    watch.until_value(1, "poll_up", **quick)
    watch.until(lambda: watch.values("consumer_lag", **quick), "back")


def history_outlives_the_agent(directory, config, written):
    """A group is as far behind, in seconds, after a restart as it was: the first poll says so."""
    with Watch(directory, config) as watch:
        watch.until(lambda: watch.value("consumer_lag_time_seconds", **of("billing", "orders")) is not None, "seconds")
        off, estimate = seconds_off(watch, written, **of("billing", "orders"))
        assert estimate == "interpolated" and off <= 1 + SLACK, (off, estimate)
        assert watch.problems() == {}, watch.problems()
        assert watch.end() == 0, watch.log()


def bad_configurations():
    for line, words in (('{brokers: ["x:1"], groups: ["("]}', ["groups", '"("']), ('{brokers: []}', ["brokers"]),
                        ('{brokers: ["x:1"], lag_reference: end}', ["lag_reference", "end", "last_stable"]),
                        ('{brokers: ["x:y"]}', ["brokers", "x:y"]),
                        ('{brokers: ["x:1"], properties: {no.such: 1}}', ["properties.no.such"])):
        with tempfile.TemporaryDirectory(prefix="sonde-") as directory:
            path = pathlib.Path(directory) / "sonded.yaml"
            path.write_text(f"collectors: {{kafka: {line}}}\n", encoding="utf-8")
            bad = subprocess.run([SONDED, "--config", path, "--socket", path.parent / "s"], text=True, capture_output=True, check=False, timeout=60)
            assert bad.returncode != 0 and all(word in bad.stderr.replace('\\"', '"') for word in words), (line, bad)


def one():
    with brokers.kafka() as server, liar() as silent, liar(b"\xff\xff\xff\x7f nonsense\r\n\r\n") as garbage, \
            tempfile.TemporaryDirectory(prefix="sonde-") as directory:
        cluster = Cluster(server.address)
        cluster.topics(orders=3, logs=1, payments=1)
        cluster.member = Member(server.address, "shop", "orders")
        cluster.transactional = begun(lambda: transactional(server.address))
        cluster.produce("orders", 10, 0), cluster.produce("orders", 20, 1), cluster.produce("logs", 10)
        cluster.commit("billing", "orders", p0=10, p1=2)
        cluster.commit("exact", "orders", p0=10, p1=20, p2=0)
        cluster.commit("gone", "orders", p0=1), cluster.commit("kept", "orders", p0=1), cluster.commit("private", "orders", p0=1)
        cluster.commit("reader", "logs", p0=2)
        cluster.commit("dirty", "payments", p0=0), cluster.commit("stable", "payments", p0=0)
        main = ('per_partition: true, consumer_offsets: true, partition_offsets: true, groups_exclude: ["^priv"], earliest_interval: 1s, '
                'metadata_interval: 5s, last_stable_groups: ["^stable$"], exact_groups: ["^exact$"], progress_window: 3, '
                f'deleted_groups_keep: 1h, state_file: {directory}/kafka.state')
        quick = "timeout: 4s, request_timeout: 500ms"
        sasl = [f"127.0.0.1:{server.ports['sasl1']}"], "security.protocol: sasl_plaintext, sasl.username: sonde, timeout: 4s, request_timeout: 1s"
        others = (f"  kafka/silent: {{brokers: ['127.0.0.1:{silent}'], interval: 1s, {quick}}}\n"
                  f"  kafka/garbage: {{brokers: ['127.0.0.1:{garbage}'], interval: 1s, {quick}}}\n"
                  f"  kafka/closed: {{brokers: ['127.0.0.1:{brokers.free_ports('x')['x']}'], interval: 1s, {quick}}}\n"
                  f"  kafka/right: {{brokers: {sasl[0]}, interval: 1s, groups: ['^(reader|gone)$'], {sasl[1]}, sasl.password: right}}\n"
                  f"  kafka/wrong: {{brokers: ['localhost:{server.ports['sasl1']}'], interval: 1s, {sasl[1]}, sasl.password: wrong}}\n")
        with contextlib.closing(cluster):
            with Watch(directory, collector([server.address], more=main) + others) as watch:
                scoped = Scoped(watch, str(server.port))
                lag_is_produced_minus_committed(cluster, scoped)
                written = seconds_are_true(cluster, scoped)
                groups_come_and_go(cluster, scoped, str(server.ports["sasl1"]))
                retention_overtakes(cluster, scoped)
                transactions_hold_back(cluster, scoped)
                watch.until_down("timeout", server_port=str(silent))
                watch.until_down("protocol", server_port=str(garbage))
                watch.until(lambda: watch.value("poll_errors_total", server_address="127.0.0.1", error_type="connect"), "nobody listens")
                watch.until_down("auth", server_address="localhost")
                assert watch.value("poll_up", server_port=str(server.port)) == 1
                broker_that_hangs(server, watch)
                assert watch.problems() == {}, watch.problems()
                assert "runtime error" not in watch.log(), watch.log()
                assert watch.end() == 0, watch.log()
            history_outlives_the_agent(directory, collector([server.address], more=main), written)
    bad_configurations()


def stopped_mid_poll(server, cluster, watch):
    """A broker that hangs costs its partitions and groups; when it is dead, others lead, and all is known again."""
    topics = [f"t{i}" for i in range(6)]
    leaders = {t: cluster.admin.describe_topics([t])[0]["partitions"][0]["leader_id"] for t in topics}
    victim = next(n for n in (2, 3) if n in leaders.values())
    process = server.processes[victim - 1]
    others = [t for t in topics if leaders[t] != victim]
    for topic in topics:
        watch.until_value(7, "consumer_lag", **of("readers", topic))
    process.send_signal(signal.SIGSTOP)
    seen = set()  # while it hangs: what is told is true, and what is not known is not told

    def elsewhere():
        for topic in topics:
            seen.update(watch.values("consumer_lag", **of("readers", topic)))
        return (watch.value("poll_errors_total", error_type="timeout") or 0) > 0
    watch.until(elsewhere, "a time-out is told")
    process.kill()
    process.wait()
    for topic in topics:
        watch.until(lambda t=topic: seen.update(watch.values("consumer_lag", **of("readers", t))) or
                    watch.value("consumer_lag", **of("readers", t)) == 7, f"{topic} is known again")
    assert seen == {7}, seen
    assert others, leaders
    cluster.produce(others[0], 2)
    watch.until_value(9, "consumer_lag", **of("readers", others[0]))
    watch.until_value(1, "poll_up")


def three():
    with brokers.kafka(3, "min.insync.replicas=1\nbroker.session.timeout.ms=3000\n") as server, \
            tempfile.TemporaryDirectory(prefix="sonde-") as directory:
        addresses = [f"127.0.0.1:{server.ports[name]}" for name in ("main", "node2", "node3")]
        cluster = Cluster(addresses[0], copies=3)
        with contextlib.closing(cluster):
            cluster.topics(**{f"t{i}": 1 for i in range(6)})
            for i in range(6):
                cluster.produce(f"t{i}", 10)
                cluster.commit("readers", f"t{i}", p0=3)
            options = "request_timeout: 1500ms"
            text = collector(addresses, more="").replace("request_timeout: 10s", options)
            with Watch(directory, text) as watch:
                stopped_mid_poll(server, cluster, watch)
                assert "runtime error" not in watch.log(), watch.log()
                assert watch.end() == 0, watch.log()


def consumer_protocol():
    """A group of the new protocol (KIP-848), which the calls of old describe as dead: its lag is told, and it is not dropped."""
    more = "group.coordinator.rebalance.protocols=classic,consumer\n"
    with brokers.kafka(1, more) as server, tempfile.TemporaryDirectory(prefix="sonde-") as directory:
        cluster = Cluster(server.address)
        with contextlib.closing(cluster):
            cluster.topics(orders=2)
            cluster.produce("orders", 10, 0), cluster.produce("orders", 10, 1)
            source = pathlib.Path(brokers.__file__).parent / "kafka" / "ConsumerProtocolGroup.java"
            client = server.run([*brokers.java(128), source, server.address, "modern", "orders"], log="client.log")
            with Watch(directory, collector([server.address])) as watch:
                watch.until_value(0, "consumer_lag", **of("modern", "orders"))
                assert watch.value("consumer_group_state", state="dead", messaging_consumer_group_name="modern") == 0
                client.kill()
                client.wait()
                cluster.produce("orders", 5)
                watch.until_value(5, "consumer_lag", **of("modern", "orders"))
                assert watch.value("consumer_group_state", state="dead", messaging_consumer_group_name="modern") == 0
                assert watch.end() == 0, watch.log()


class Scoped:
    """A watch that looks at one cluster's series."""

    def __init__(self, watch, port):
        self.watch, self.port = watch, port

    def __getattr__(self, name):
        found = getattr(self.watch, name)
        if name in ("value", "values", "until_value", "exported"):
            return lambda *a, **k: found(*a, **({"server_port": self.port} | k))
        return found

    def series(self):
        return [s for s in self.watch.series() if s[1].get("server_port") == self.port]


if __name__ == "__main__":
    try:
        {"one": one, "three": three, "consumer_protocol": consumer_protocol}[sys.argv[2]]()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
