# SPDX-License-Identifier: Apache-2.0
"""The NATS collector against real nats-servers with JetStream. Usage: collect_nats_test.py BUILD one|cluster.
What is true is what this test published, fetched and acknowledged, and when. Exit 77 (skipped) when there is no nats-server."""
import asyncio
import json
import pathlib
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import brokers  # noqa: E402
import nats  # noqa: E402
from collect_rig import check_refused, liar, watching  # noqa: E402
from nats.js.api import ConsumerConfig, StreamConfig  # noqa: E402
from rig import wait_until  # noqa: E402

STREAM, GROUP = "orders", "billing"
OF_STREAM = {"messaging_destination_name": STREAM, "messaging_nats_account": "$G"}
OF_GROUP = OF_STREAM | {"messaging_consumer_group_name": GROUP}
SEEN_S = 1.2  # how long messages wait before others follow; more than an interval


def collector(ports, name="nats", more="timeout: 5s"):
    servers = ", ".join(f'"http://127.0.0.1:{port}"' for port in ports)
    return f"  {name}: {{servers: [{servers}], interval: 200ms, {more}}}\n"


def run(url, work):
    async def all_of_it():
        client = await nats.connect(url)
        try:
            return await work(client.jetstream(timeout=20))
        finally:
            await client.close()
    return asyncio.run(all_of_it())


def publish(url, count, stream=STREAM):
    """Returns when each was written, by the clock of this machine, which is the server's."""
    async def work(jetstream):
        times = []
        for i in range(count):
            await jetstream.publish(stream, b"x%d" % i)
            times.append(time.time())
        return times
    return run(url, work)


def take(url, count, acked):
    async def work(jetstream):
        consumer = await jetstream.pull_subscribe(STREAM, durable=GROUP, stream=STREAM)
        messages = await consumer.fetch(count, timeout=20)
        assert len(messages) == count
        for message in messages[:acked]:
            await message.ack_sync()
    run(url, work)


def prepare(url, replicas=1):
    async def work(jetstream):
        for stream in (STREAM, "private"):
            await jetstream.add_stream(StreamConfig(name=stream, subjects=[stream], num_replicas=replicas))
            await jetstream.add_consumer(stream, ConsumerConfig(durable_name=GROUP, ack_policy="explicit", ack_wait=3600))
    run(url, work)


def lag_is_published_minus_fetched(broker, watch):
    url = f"nats://{broker.address}"
    of_nats = {"server_port": str(broker.ports["monitor"])}
    watch.until_value(0, "consumer_lag", **OF_GROUP)
    assert watch.value("consumer_lag_time_seconds", estimate="exact", **OF_GROUP) == 0
    publish(url, 5)
    watch.until_value(5, "consumer_lag", **OF_GROUP)
    watch.until(lambda: (watch.value("queue_oldest_message_age_seconds", state="retained", **OF_STREAM) or 0) > SEEN_S, "they wait")
    times = publish(url, 5)
    take(url, 5, 3)
    watch.until_value(5, "consumer_lag", **OF_GROUP)
    watch.until_value(2, "queue_message", state="unacked", **OF_GROUP)
    watch.until_value(10, "queue_message", state="retained", **OF_STREAM)
    assert watch.value("queue_message", state="ready", **OF_GROUP) == 5
    assert watch.value("queue_published_total", **OF_STREAM) == 10
    assert watch.value("queue_delivered_total", **OF_GROUP) == 5
    assert watch.value("consumer_offset", **OF_GROUP) == 3
    assert watch.value("partition_offset", kind="earliest", **OF_STREAM) == 1
    assert watch.value("partition_offset", kind="end", **OF_STREAM) == 10
    assert watch.value("queue_size_bytes", **OF_STREAM) > 0
    assert watch.value("consumer_progress", state="ok", **OF_GROUP) == 1
    assert watch.value("consumer_group_state", state="active", **OF_GROUP) == 1
    assert 0 <= watch.value("consumer_since_progress_seconds", **OF_GROUP) < 300
    series = watch.series()
    seconds, = [(l, v) for n, l, v in series if n == "sonde_messaging_consumer_lag_time_seconds" and l.items() >= OF_GROUP.items()]
    polled, = [v for n, l, v in series if n == "sonde_messaging_poll_last_success_timestamp_seconds" and l.items() >= of_nats.items()]
    assert seconds[0]["estimate"] == "interpolated", seconds
    assert abs(polled - seconds[1] - times[0]) < 1, (polled - seconds[1], times)
    assert seconds[0]["messaging_system"] == "nats" and seconds[0]["server_address"] == "127.0.0.1", seconds
    assert not [1 for n, l, v in series if l.get("messaging_destination_name") == "private"]
    watch.until(lambda: watch.exported("consumer.lag", **OF_GROUP) == [5], "OTLP")
    watch.until(lambda: watch.exported("poll.up", **of_nats) == [1], "OTLP of its health")
    take(url, 5, 5)
    watch.until_value(0, "consumer_lag", **OF_GROUP)


def server_that_goes_and_comes_back(broker, watch):
    of_nats = {"server_port": str(broker.ports["monitor"])}
    process = broker.processes.pop()
    process.kill()
    process.wait()
    watch.until_value(0, "poll_up", **of_nats)
    watch.until(lambda: watch.values("consumer_lag", **OF_GROUP) == [], "unknown is absent")
    broker.run(process.args)
    broker.wait(brokers.asks(b"", b"INFO {"))
    watch.until_value(0, "consumer_lag", **OF_GROUP)
    watch.until_value(1, "poll_up", **of_nats)


def one():
    with brokers.nats(jetstream=True) as broker, brokers.nats() as plain, liar() as silent, liar(b"\xff\xfe nonsense\r\n\r\n") as garbage:
        prepare(f"nats://{broker.address}")
        page = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"accounts":[1]'
        with liar(page) as other, watching(
                collector([broker.ports["monitor"]], more='timeout: 5s, exclude: ["priv.*"]')
                + collector([silent], "nats/silent", "timeout: 100ms") + collector([garbage], "nats/garbage")
                + collector([other], "nats/other") + collector([plain.ports["monitor"]], "nats/plain")) as watch:
            lag_is_published_minus_fetched(broker, watch)
            watch.until_down("timeout", server_port=str(silent))
            watch.until_down("protocol", server_port=str(other))
            watch.until_value(0, "poll_up", server_port=str(garbage))
            watch.until_down("not_found", server_port=str(plain.ports["monitor"]))
            server_that_goes_and_comes_back(broker, watch)
    check_refused('nats: {servers: ["ftp://x"]}', "servers", "ftp://x")
    check_refused('nats: {include: ["(("]}', "include", "((")
    check_refused("nats: {tls: {cert_file: x}}", "tls", "key_file")


def cluster():
    names = ("a", "b", "c")

    def start(server):
        routes = ",".join(f"nats://127.0.0.1:{server.ports['route_' + name]}" for name in names)
        for name in names:
            port = server.port if name == "a" else server.ports[name]
            server.run([brokers.find("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-m", str(server.ports["http_" + name]),
                        "-js", "-sd", str(server.directory / name), "-n", name, "--cluster_name", "c1",
                        "--cluster", f"nats://127.0.0.1:{server.ports['route_' + name]}", "--routes", routes], log=f"{name}.log")
        for name in names:
            server.wait(brokers.asks(b"", b"INFO {"), server.port if name == "a" else server.ports[name])

    def leader(broker):
        with urllib.request.urlopen(f"http://127.0.0.1:{broker.ports['http_a']}/jsz?consumers=true", timeout=20) as answer:
            for account in json.load(answer).get("account_details") or []:
                for stream in account["stream_detail"]:
                    if stream["name"] == STREAM:
                        return stream["consumer_detail"][0]["cluster"].get("leader")
        return None

    ports = [*(f"http_{n}" for n in names), *(f"route_{n}" for n in names), "b", "c"]
    with brokers.started(start, "main", *ports) as broker:
        url, monitors = f"nats://{broker.address}", {name: broker.ports["http_" + name] for name in names}
        wait_until(lambda: retried(lambda: prepare(url, 3)), "the cluster has a leader")
        leads = wait_until(lambda: leader(broker), "a leader")
        others = [port for name, port in monitors.items() if name != leads]
        publish(url, 10)
        take(url, 4, 4)
        with watching(collector(monitors.values())) as watch:  # whoever leads is among them
            watch.until_value(6, "consumer_lag", messaging_nats_cluster_name="c1", **OF_GROUP)
            watch.until_value(0, "consumer_lag", messaging_destination_name="private")
            watch.until_value(10, "queue_published_total", **OF_STREAM)
        with watching(collector(others)) as watch:  # followers know, but are not believed
            watch.until(lambda: (watch.value("poll_errors_total", error_type="leader_unknown") or 0) > 1, "it is told")
            assert watch.value("poll_up") == 1 and watch.values("consumer_lag", **OF_GROUP) == [], watch.series()
        with watching(collector(monitors.values())) as watch:  # another leads when the leader is gone
            watch.until_value(6, "consumer_lag", **OF_GROUP)
            process = broker.processes[names.index(leads)]
            process.kill()
            process.wait()
            watch.until(lambda: (watch.value("poll_errors_total", error_type="connect") or 0) > 0, "it is seen")
            watch.until_value(6, "consumer_lag", **OF_GROUP)
            assert watch.value("poll_up") == 1


def retried(work):
    try:
        work()
    except (nats.errors.Error, asyncio.TimeoutError):
        return False
    return True


if __name__ == "__main__":
    try:
        {"one": one, "cluster": cluster}[sys.argv[2]]()
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)
