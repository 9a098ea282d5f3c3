# SPDX-License-Identifier: Apache-2.0
"""The Pulsar collector against a strict fake of the admin API: paths, parameters and documents as pulsar.apache.org's admin REST
reference and the broker's TopicStatsImpl, PartitionedTopicStatsImpl and SubscriptionStatsImpl have them; anything else is a 400.
Usage: collect_pulsar_test.py BUILD. What is true is what the test tells the fake was published, delivered and acknowledged."""
import http.server
import json
import re
import sys
import threading
import time
from urllib.parse import parse_qs, unquote, urlsplit

from collect_rig import check_refused, liar, watching

TOKEN = "t0ken"


class Subscription:
    def __init__(self, consumers=()):
        self.acked = self.delivered = self.delayed = self.expired = 0
        self.consumers, self.blocked = list(consumers), False

    def stats(self, published, asked):
        """published: times, in ms."""
        waits = published[self.acked:]
        return {"msgRateOut": 0.0, "msgThroughputOut": 0.0, "bytesOutCounter": 100 * self.delivered, "msgOutCounter": self.delivered,
                "msgRateRedeliver": 0.0, "messageAckRate": 0.0, "chunkedMessageRate": 0, "msgBacklog": len(waits),
                "backlogSize": -1, "earliestMsgPublishTimeInBacklog": waits[0] if waits and asked["earliest"] else 0,
                "msgBacklogNoDelayed": len(waits) - self.delayed, "blockedSubscriptionOnUnackedMsgs": self.blocked,
                "msgDelayed": self.delayed, "unackedMessages": self.delivered - self.acked, "type": "Shared", "activeConsumerName": "",
                "msgRateExpired": 0.0, "totalMsgExpired": self.expired, "lastExpireTimestamp": 0, "lastConsumedFlowTimestamp": 0,
                "lastConsumedTimestamp": 0, "lastAckedTimestamp": 0, "lastMarkDeleteAdvancedTimestamp": 0,
                "consumers": [{"consumerName": name, "msgRateOut": 0.0, "unackedMessages": 0, "availablePermits": 1000,
                               "address": "/127.0.0.1:40000", "metadata": {}} for name in self.consumers],
                "isDurable": True, "isReplicated": False, "allowOutOfOrderDelivery": False, "consumersAfterMarkDeletePosition": {},
                "nonContiguousDeletedMessagesRanges": 0, "nonContiguousDeletedMessagesRangesSerializedSize": 0,
                "subscriptionProperties": {}, "durable": True, "replicated": False}


class Topic:
    def __init__(self, **subscriptions):
        self.published, self.subscriptions = [], subscriptions

    def publish(self, count, age_s=0):
        self.published += [int((time.time() - age_s) * 1000)] * count

    def stats(self, asked):
        return {"msgRateIn": 0.0, "msgThroughputIn": 0.0, "msgRateOut": 0.0, "msgThroughputOut": 0.0, "averageMsgSize": 100.0,
                "bytesInCounter": 100 * len(self.published), "msgInCounter": len(self.published), "bytesOutCounter": 0, "msgOutCounter": 0,
                "msgChunkPublished": False, "storageSize": 100 * len(self.published), "backlogSize": 0, "publishers": [],
                "waitingPublishers": 0, "subscriptions": {n: s.stats(self.published, asked) for n, s in self.subscriptions.items()},
                "replication": {}, "deduplicationStatus": "Disabled", "topicEpoch": 0}


def summed(parts):
    """As a broker sums: without the earliest time and the blocked flag, and consumers merged one by one."""
    found = {k: 0 for k in ("msgInCounter", "storageSize")} | {"subscriptions": {}}
    for stats in parts.values():
        for key in ("msgInCounter", "storageSize"):
            found[key] += stats[key]
        for name, subscription in stats["subscriptions"].items():
            total = found["subscriptions"].setdefault(name, dict.fromkeys(("msgBacklog", "unackedMessages", "msgDelayed", "msgOutCounter"), 0))
            for key in ("msgBacklog", "unackedMessages", "msgDelayed", "msgOutCounter"):
                total[key] += subscription[key]
            total |= {"earliestMsgPublishTimeInBacklog": 0, "blockedSubscriptionOnUnackedMsgs": False, "consumers": subscription["consumers"]}
    return found


class Broker(http.server.ThreadingHTTPServer):
    """namespaces: {"tenant/namespace": {"topic": Topic, or a list of them: its partitions}}."""
    daemon_threads = True

    def __init__(self, namespaces, elsewhere=()):
        super().__init__(("127.0.0.1", 0), Handler)
        self.namespaces, self.elsewhere, self.strange, self.status = namespaces, set(elsewhere), [], None
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def answer(self, path, query):
        """A document, or a status."""
        if path == "/admin/v2/tenants":
            return sorted({name.split("/")[0] for name in self.namespaces})
        if match := re.fullmatch(r"/admin/v2/namespaces/([^/]+)", path):
            return [name for name in self.namespaces if name.startswith(match[1] + "/")]
        if match := re.fullmatch(r"/admin/v2/persistent/([^/]+/[^/]+)(/partitioned)?", path):
            if match[1] not in self.namespaces:
                return 404
            return [f"persistent://{match[1]}/{name}" for name in self.names(match[1], match[2])]
        if match := re.fullmatch(r"/admin/v2/persistent/([^/]+/[^/]+)/([^/]+)/(stats|partitioned-stats)", path):
            return self.stats(match[1], unquote(match[2]), match[3], query)
        return 400

    def names(self, namespace, partitioned):
        for name, topic in self.namespaces[namespace].items():
            if partitioned and isinstance(topic, list):
                yield name
            if not partitioned:
                yield from [f"{name}-partition-{i}" for i in range(len(topic))] if isinstance(topic, list) else [name]

    def stats(self, namespace, name, kind, query):
        topic = self.namespaces.get(namespace, {}).get(name)
        known = {"getPreciseBacklog", "subscriptionBacklogSize", "getEarliestTimeInBacklog"} | (
            {"perPartition"} if kind == "partitioned-stats" else set())
        if set(query) - known or any(v not in (["true"], ["false"]) for v in query.values()):
            return 400
        if topic is None or isinstance(topic, list) != (kind == "partitioned-stats"):
            return 404
        if name in self.elsewhere:
            return 307
        asked = {"earliest": query.get("getEarliestTimeInBacklog") == ["true"]}
        if kind == "stats":
            return topic.stats(asked)
        parts = {f"persistent://{namespace}/{name}-partition-{i}": part.stats(asked) for i, part in enumerate(topic)}
        return summed(parts) | {"metadata": {"partitions": len(topic), "deleted": False},
                                "partitions": parts if query.get("perPartition", ["true"]) == ["true"] else {}}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        found = self.server.status or (401 if self.headers.get("Authorization") != f"Bearer {TOKEN}" else
                                       self.server.answer(parts.path, parse_qs(parts.query, strict_parsing=bool(parts.query))))
        if found == 400 or self.headers.get("Accept") != "application/json":
            self.server.strange.append(self.path)
        status, body = (found, b'{"reason":"told to"}') if isinstance(found, int) else (200, json.dumps(found).encode())
        self.send_response(status)
        if status == 307:
            self.send_header("Location", "http://127.0.0.1:1" + self.path)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def of_broker(broker):
    return {"server_address": "127.0.0.1", "server_port": str(broker.port)}


def of(broker, topic, subscription=None):
    found = of_broker(broker) | {"messaging_destination_name": f"persistent://{topic}"}
    return found | ({"messaging_destination_subscription_name": subscription} if subscription else {})


def backlog_is_published_minus_acknowledged(broker, watch):
    orders, parts = broker.namespaces["shop/eu"]["or/ders ä"], broker.namespaces["shop/eu"]["events"]
    of_orders, of_events = of(broker, "shop/eu/or/ders ä", "billing"), of(broker, "shop/eu/events", "audit")
    watch.until_value(0, "consumer_lag", **of_orders)
    assert watch.value("consumer_lag_time_seconds", estimate="exact", **of_orders) == 0
    orders.publish(4, age_s=100)
    orders.publish(6)
    watch.until_value(10, "consumer_lag", **of_orders)
    assert 100 <= watch.value("consumer_lag_time_seconds", estimate="exact", **of_orders) < 160
    orders.subscriptions["billing"].delivered, orders.subscriptions["billing"].acked = 7, 4
    watch.until_value(6, "consumer_lag", **of_orders)
    for state, count in (("ready", 3), ("unacked", 3), ("scheduled", 0)):
        assert watch.value("queue_message", state=state, **of_orders) == count
    assert 0 <= watch.value("queue_oldest_message_age_seconds", **of_orders) < 60
    assert watch.values("consumer_lag_time_seconds", **of_orders) == [], "the earliest may be one of those unacknowledged"
    assert watch.value("queue_delivered_total", **of_orders) == 7 and watch.value("consumer_active", **of_orders) == 0
    assert watch.value("queue_published_total", **of(broker, "shop/eu/or/ders ä")) == 10
    for i, part in enumerate(parts):
        part.publish(i + 1, age_s=10 * (i + 1))
        part.subscriptions["audit"].consumers = ["a", "b"]
    watch.until_value(6, "consumer_lag", **of_events)
    watch.until_value(3, "partition_lag", messaging_destination_partition_id="2", **of_events)
    assert watch.value("consumer_active", **of_events) == 2, "one that reads all partitions is one"
    assert 30 <= watch.value("consumer_lag_time_seconds", **of_events) < 90, "of the partition that is furthest behind"
    assert watch.value("consumer_group_state", state="blocked", **of_events) == 0
    parts[1].subscriptions["audit"].blocked = True
    watch.until_value(1, "consumer_group_state", state="blocked", **of_events)
    assert watch.value("queue_published_total", **of(broker, "shop/eu/events")) == 6
    watch.until(lambda: watch.exported("consumer.lag", **of_events) == [6], "OTLP")
    watch.until(lambda: watch.exported("poll.up", **of_broker(broker)) == [1], "OTLP of its health")
    names = {l["messaging_destination_name"] for n, l, _ in watch.series() if l.get("messaging_destination_name")}
    assert names == {f"persistent://{n}" for n in ("shop/eu/or/ders ä", "shop/eu/events", "other/x/far")}, names


def topics_come_and_go(broker, watch):
    broker.namespaces["other/x"]["new"] = topic = Topic(s=Subscription())
    topic.publish(2)
    watch.until_value(2, "consumer_lag", **of(broker, "other/x/new", "s"))
    del broker.namespaces["other/x"]["new"]
    watch.until(lambda: watch.values("consumer_lag", **of(broker, "other/x/new", "s")) == [], "it is gone")
    watch.until_value(1, "poll_up", **of_broker(broker))


def brokers_fail_and_come_back(broker, second, watch):
    for status, error in ((503, "server"), (429, "throttled"), (404, "not_found")):
        broker.status = second.status = status
        watch.until_down(error, **of_broker(broker))
        watch.until(lambda: watch.values("consumer_lag", **of(broker, "shop/eu/events", "audit")) == [], "unknown is absent")
    assert watch.value("poll_throttled_total", **of_broker(broker)) > 0
    broker.status = second.status = None
    watch.until_value(6, "consumer_lag", **of(broker, "shop/eu/events", "audit"))


def main():
    check_refused('pulsar: {endpoints: ["ftp://x"]}', "endpoints", "https://HOST:PORT")
    check_refused('pulsar: {namespaces: ["x"]}', "namespaces", "TENANT/NAMESPACE")
    check_refused('pulsar: {exclude: ["(("]}', "exclude", "((")
    far = {"other/x": {"far": Topic(s=Subscription())}}
    namespaces = {"shop/eu": {"or/ders ä": Topic(billing=Subscription()), "events": [Topic(audit=Subscription()) for _ in range(3)],
                              "private": Topic(s=Subscription()), "__change_events": Topic(s=Subscription())}} | far
    broker, second = Broker(namespaces, elsewhere=["far"]), Broker(far)
    with liar() as silent, liar(b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n["a", {}') as garbage:
        common = f"interval: 200ms, discovery_interval: 400ms, timeout: 5s, token: {TOKEN}"
        collectors = (
            f'  pulsar: {{endpoints: ["127.0.0.1:{broker.port}", "127.0.0.1:{second.port}"], exclude: ["shop/eu/priv.*"], '
            f'earliest_time: true, partitions: true, {common}}}\n'
            f'  pulsar/named: {{endpoints: ["http://localhost:{broker.port}/"], namespaces: [shop/eu, shop/none], topics_max: 1, {common}}}\n'
            f'  pulsar/wrong: {{endpoints: ["127.0.0.2:1", "127.0.0.1:{broker.port}"], interval: 200ms, token: other}}\n'
            f'  pulsar/silent: {{endpoints: ["127.0.0.1:{silent}"], interval: 200ms, timeout: 200ms}}\n'
            f'  pulsar/garbage: {{endpoints: ["127.0.0.1:{garbage}"], {common}}}\n')
        with watching(collectors) as watch:
            backlog_is_published_minus_acknowledged(broker, watch)
            topics_come_and_go(broker, watch)
            watch.until(lambda: 1 in watch.values("poll_truncated", server_address="localhost"), "one topic of many")
            watch.until(lambda: watch.values("poll_errors_total", server_address="localhost", error_type="not_found"), "no such namespace")
            watch.until_down("auth", server_address="127.0.0.2")
            watch.until_down("timeout", server_port=str(silent))
            watch.until_down("protocol", server_port=str(garbage))
            brokers_fail_and_come_back(broker, second, watch)
            assert TOKEN not in watch.log()
        assert not broker.strange and not second.strange, (broker.strange, second.strange)
    for server in (broker, second):
        server.shutdown()
        server.server_close()


if __name__ == "__main__":
    main()
