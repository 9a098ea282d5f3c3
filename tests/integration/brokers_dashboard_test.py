# SPDX-License-Identifier: Apache-2.0
"""The broker dashboard and all rules on a real Prometheus, whose agent polls a real Kafka, RabbitMQ and Redis, SQS (moto), and a
broker that is not there.  usage: brokers_dashboard_test.py BUILD
Every query of every panel gives data, every recording rule too, every metric that a rule asks for of brokers is there, and the
alerts on what is wrong here are on their way. Exit 77 (skipped) when a server is not installed."""
import contextlib
import pathlib
import shutil
import sys
import tempfile
import threading

import redis
from kafka import TopicPartition

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "interop"), str(HERE.parent / "lint"), str(HERE.parents[1] / "examples" / "shop")]
import aws  # noqa: E402
import brokers  # noqa: E402
import collect_aws_test as cloud_test  # noqa: E402
import collect_kafka_test as kafka_test  # noqa: E402
import collect_rabbitmq_test as rabbit_test  # noqa: E402
from alerts_test import rules_by_name  # noqa: E402
from collect_rig import Watch  # noqa: E402
from dashboard_test import check_queries  # noqa: E402
from dashboards import dashboards, selectors  # noqa: E402
from prometheus_rig import PROGRAMS, RULES, Prometheus  # noqa: E402
from rig import wait_until  # noqa: E402

RABBIT = {"plugins": ("rabbitmq_management",), "config": "collect_statistics_interval = 500\n"}
# Alerts on what this test puts wrong; which need minutes of it are checked by promtool (alerts_test.py).
ON_THEIR_WAY = {"SondeBrokerPollFailing", "SondeMessagesExpiredUnread", "SondeDeadLettersGrowing",
                "SondeQueueWithoutConsumers"}
OF_BROKERS = ("brokers.yml", "recording.yml")


class Traffic(threading.Thread):
    """Messages that come and go while the queries are asked: in Kafka some are read, in RabbitMQ some are given out again."""

    def __init__(self, cluster, rabbit):
        super().__init__(daemon=True)
        self.cluster, self.rabbit, self.ended, self.problem = cluster, rabbit, threading.Event(), None

    def run(self):
        offset = 10
        try:
            with rabbit_test.channel_to(self.rabbit) as channel:
                while not self.ended.wait(0.3):
                    self.cluster.produce("orders", 4)
                    offset += 2
                    self.cluster.commit("billing", "orders", p0=offset)
                    rabbit_test.publish(channel, "mail", 4)
                    rabbit_test.take(channel, "mail", 2)
                    method, _, _ = channel.basic_get("mail")
                    channel.basic_nack(method.delivery_tag, requeue=True)
        except Exception as problem:  # told where it is waited for
            self.problem = problem

    def end(self):
        self.ended.set()
        self.join()
        if self.problem:
            raise self.problem


def kafka_make(server):
    cluster = kafka_test.Cluster(server.address)
    cluster.topics(orders=1, logs=1)
    cluster.produce("orders", 20)
    cluster.commit("billing", "orders", p0=10)
    cluster.produce("logs", 10)
    cluster.commit("slow", "logs", p0=2)
    cluster.admin.delete_records({TopicPartition("logs", 0): 6})  # four that nobody read
    return cluster


def rabbit_make(server):
    with rabbit_test.channel_to(server) as channel:
        for queue in ("mail", "unread"):
            channel.queue_declare(queue, durable=True)
        rabbit_test.publish(channel, "mail", 10)
        rabbit_test.publish(channel, "unread", 3)


def redis_make(server):
    client = redis.Redis(port=server.port)
    client.xgroup_create("steps", "readers", id="0", mkstream=True)
    for number in range(5):
        client.xadd("steps", {"n": number})
    client.xreadgroup("readers", "one", {"steps": ">"}, count=2)


def collectors(kafka, rabbit, cloud, streams, nobody, directory):
    management = rabbit.ports["management"]
    return (kafka_test.collector([kafka.address], more="progress_window: 3, earliest_interval: 1s")
            + f"  rabbitmq: {{addresses: ['127.0.0.1:{management}'], interval: 500ms, detail_interval: 500ms}}\n"
            + cloud_test.collector(cloud.endpoint)
            + f"  redis: {{address: '127.0.0.1:{streams.port}', interval: 500ms, lease: 'file:{directory}/lease'}}\n"
            + f"  redis/gone: {{address: '127.0.0.1:{nobody}', interval: 500ms, timeout: 2s}}\n")


def check_rules(prometheus):
    """All that the rule files hold evaluates; what is recorded of brokers has data; what alerts ask for is there."""
    groups = prometheus.api("rules")["groups"]
    assert {pathlib.Path(group["file"]).name for group in groups} == {path.name for path in RULES.glob("*.yml")}, groups
    for group in groups:
        for rule in group["rules"]:
            assert rule["health"] in ("ok", "unknown"), rule
            if not group["file"].endswith(OF_BROKERS) or "services" in group["name"] or "breakers" in group["name"]:
                continue
            for metric, matchers in selectors(rule["query"]):
                wait_until(lambda m=metric, w=matchers: prometheus.values(f"{m}{{{w or ''}}}"), f"{metric}{{{matchers}}} of {rule['name']}")
            if rule["type"] == "recording":
                wait_until(lambda r=rule: prometheus.values(r["name"]), f"data of {rule['name']}")


def check_alerts(prometheus):
    def states():
        return {rule["name"]: rule["state"] for group in prometheus.api("rules")["groups"] for rule in group["rules"]
                if rule["type"] == "alerting"}
    assert set(states()) == set(rules_by_name()), states()
    wait_until(lambda: all(states()[name] != "inactive" for name in ON_THEIR_WAY), f"{ON_THEIR_WAY} begin")
    assert states()["SondeAgentDown"] == states()["SondeAgentLedgerUnbalanced"] == "inactive", states()


def run():
    with (contextlib.ExitStack() as stack, brokers.kafka() as kafka, brokers.rabbitmq(**RABBIT) as rabbit,
          brokers.redis() as streams, aws.cloud() as cloud, tempfile.TemporaryDirectory(prefix="sonde-") as directory):
        ports = brokers.free_ports("nobody", "prometheus")
        cluster = stack.enter_context(contextlib.closing(kafka_make(kafka)))
        rabbit_make(rabbit)
        redis_make(streams)
        sqs = cloud.client("sqs")
        _, dead = cloud_test.queue_make(sqs, "bills-dead")
        bills, _ = cloud_test.queue_make(sqs, "bills", dead)
        watch = stack.enter_context(Watch(directory, collectors(kafka, rabbit, cloud, streams, ports["nobody"], directory)))
        member = stack.enter_context(contextlib.closing(kafka_test.Member(kafka.address, "audit", "orders")))
        traffic = Traffic(cluster, rabbit)
        traffic.start()
        with Prometheus(directory, watch.address(), ports["prometheus"], rules=True) as prometheus:
            wait_until(lambda: prometheus.values('sonde_messaging_queue_message{messaging_destination_name="bills"}'), "SQS is polled")
            cloud_test.poison(sqs, bills, 3)  # seen to come: an alert is on what grows
            check_queries(prometheus, dashboards()["brokers"])
            check_rules(prometheus)
            check_alerts(prometheus)
            assert "level=error" not in prometheus.log(), prometheus.log()
        traffic.end()
        del member
        assert watch.end() == 0, watch.log()


def main():
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        return 77
    try:
        run()
    except brokers.Missing as problem:
        print(f"skipped: {problem}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
