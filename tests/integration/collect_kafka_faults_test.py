# SPDX-License-Identifier: Apache-2.0
"""sonded polls Kafka clusters that fail in parts: each costs what it is about, and nothing else. On a fake that speaks the protocol.
Usage: collect_kafka_faults_test.py BUILD."""
import contextlib
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
import kafka_fake as fake  # noqa: E402
from collect_rig import watching  # noqa: E402


def of(group, topic):
    return {"messaging_consumer_group_name": group, "messaging_destination_name": topic}


def silence(correlation, request):
    return None


def garbage(correlation, request):
    return struct.pack(">ii", 44, correlation) + b"\xff" * 40


def cut(correlation, request):
    return struct.pack(">iih", 6, correlation, 0)


def wrong_size(correlation, request):
    return struct.pack(">ii", 0x7fffffff, correlation)


class Stage:
    """Clusters by name, watched by one agent."""

    def __init__(self, stack):
        self.stack, self.clusters, self.more = stack, {}, {}

    def add(self, name, more="", nodes=1, **options):
        cluster = self.clusters[name] = self.stack.enter_context(fake.Cluster(nodes, **options))
        self.more[name] = more
        cluster.topic("orders", [100, 50, 10], leaders=[1, nodes, 1])
        cluster.topic("logs", [40])
        cluster.group("billing", {("orders", 0): 90, ("orders", 1): 30}, members=[{"orders": [0, 1]}, {"orders": [2]}])
        cluster.group("reader", {("logs", 0): 40}, state="Empty")
        return cluster

    def yaml(self):
        return "".join(f"  kafka/{name}: {{brokers: ['{cluster.address}'], interval: 500ms, timeout: 8s, request_timeout: 1s, metadata_interval: 1h, "
                       f"per_partition: true{', ' if self.more[name] else ''}{self.more[name]}}}\n" for name, cluster in self.clusters.items())


class Of:
    """One cluster's series."""

    def __init__(self, watch, stage, name):
        self.watch, self.port = watch, str(stage.clusters[name].port())

    def __getattr__(self, name):
        return lambda *a, **k: getattr(self.watch, name)(*a, server_port=self.port, **k)

    def until_absent(self, metric, **labels):
        self.watch.until(lambda: self.values(metric, **labels) == [], f"no {metric} {labels}")

    def until_error(self, error_type):
        self.watch.until(lambda: self.value("poll_errors_total", error_type=error_type) or 0, error_type)


def check_whole(one):
    one.until_value(10 + 20, "consumer_lag", **of("billing", "orders"))
    one.until_value(0, "consumer_lag", **of("reader", "logs"))
    one.until_value(1, "poll_up")


def main():
    with contextlib.ExitStack() as stack:
        stage = Stage(stack)
        stage.add("good")
        stage.add("old", offset_fetch=5)
        stage.add("sick", nodes=2).faults[(fake.LIST_OFFSETS, 2)] = silence
        stage.add("partition").partition_errors[("orders", 1)] = 3
        moving = stage.add("moving", nodes=2)
        stage.add("dead").group("new", {("orders", 0): 95}, state="Dead")
        stage.clusters["dead"].group("buried", {}, state="Dead")
        stage.add("nonsense").faults[(fake.OFFSET_FETCH, None)] = garbage
        stage.add("cut").faults[(fake.LIST_OFFSETS, None)] = cut
        stage.add("size").faults[(fake.METADATA, None)] = wrong_size
        few = stage.add("few", more="groups_max: 2")
        for i in range(5):
            few.group(f"z{i}", {("logs", 0): 0})
        stage.add("assigned", more="only_assigned: true").group("part", {("orders", 0): 90, ("orders", 1): 0}, members=[{"orders": [0]}])
        lost = stage.add("lost", nodes=2)  # "billing"'s coordinator is 2, "reader"'s 1
        lost.faults[(fake.FIND_COORDINATOR, None)] = silence
        slow = stage.add("slow", nodes=2)
        slow.faults[(fake.OFFSET_FETCH, 2)] = silence
        names = stage.add("names", more="groups_exclude: ['^x'], topics_exclude: [log]")
        names.group("x", {("orders", 0): 1})
        names.group("connect-workers", {}, protocol="connect")
        names.group("ü\n\"long\" " + "n" * 200, {("orders", 0): 99})
        names.group("l" * 300, {("orders", 0): 99})
        with watching(stage.yaml()) as watch:
            def one(name):
                return Of(watch, stage, name)
            check_whole(one("good"))
            check_whole(one("old"))
            assert one("good").value("consumer_active", messaging_consumer_group_name="billing") == 2
            assert one("good").value("consumer_group_state", state="empty", messaging_consumer_group_name="reader") == 1
            sick = one("sick")
            sick.until_value(0, "consumer_lag", **of("reader", "logs"))
            sick.until_value(10, "partition_lag", messaging_destination_partition_id="0", **of("billing", "orders"))
            sick.until_absent("consumer_lag", **of("billing", "orders"))  # a part is unknown: so is the sum
            sick.until_error("timeout")
            assert sick.value("poll_up") == 1
            part = one("partition")
            part.until_value(10, "partition_lag", messaging_destination_partition_id="0", **of("billing", "orders"))
            part.until_absent("consumer_lag", **of("billing", "orders"))
            part.until_value(0, "consumer_lag", **of("reader", "logs"))
            part.until_error("not_found")
            dead = one("dead")
            dead.until_value(5, "consumer_lag", **of("new", "orders"))
            dead.until_value(1, "consumer_group_state", state="unknown", messaging_consumer_group_name="new")
            dead.until_value(1, "consumer_group_state", state="dead", messaging_consumer_group_name="buried")
            assert dead.values("consumer_active", messaging_consumer_group_name="new") == []
            one("nonsense").until_value(0, "poll_up")
            one("nonsense").until_absent("consumer_lag")
            cut_one = one("cut")
            cut_one.until_value(1, "consumer_group_state", state="empty", messaging_consumer_group_name="reader")
            cut_one.until_absent("consumer_lag")
            one("size").until_value(0, "poll_up")
            one("few").until_value(1, "poll_truncated")
            assert len(one("few").values("consumer_group_state", state="empty")) <= 2
            assert one("good").value("poll_truncated") == 0
            one("assigned").until_value(10, "consumer_lag", **of("part", "orders"))
            assert one("assigned").values("partition_lag", messaging_destination_partition_id="1", **of("part", "orders")) == []
            named = one("names")
            named.until_value(1, "consumer_lag", **of("ü\n\"long\" " + "n" * 200, "orders"))
            named.until_value(1, "poll_truncated")
            for labels in ({"messaging_consumer_group_name": "x"}, {"messaging_destination_name": "logs"},
                           {"messaging_consumer_group_name": "connect-workers"}, {"messaging_consumer_group_name": "l" * 300}):
                assert named.values("consumer_lag", **labels) == [], labels
            # a coordinator that hangs costs its groups; when it is back, so are they, and what waited for it harms nothing
            one("slow").until_value(0, "consumer_lag", **of("reader", "logs"))
            one("slow").until_absent("consumer_lag", **of("billing", "orders"))
            one("slow").until_value(1, "consumer_group_state", state="stable", messaging_consumer_group_name="billing")
            one("slow").until_error("timeout")
            one("lost").until_value(0, "poll_up")
            slow.faults.clear(), lost.faults.clear()
            check_whole(one("slow"))
            check_whole(one("lost"))
            # a leader that is another's now, though metadata is asked for once an hour
            check_whole(one("moving"))
            moving.topics["orders"]["leaders"] = [2, 2, 2]
            moving.topics["orders"]["ends"][0] = 105
            one("moving").until_value(5 + 10 + 20, "consumer_lag", **of("billing", "orders"))
            # offsets that go, and come back
            good = stage.clusters["good"]
            good.commit("reader", {})
            one("good").until_absent("consumer_lag", **of("reader", "logs"))
            good.commit("reader", {("logs", 0): 15})
            one("good").until_value(25, "consumer_lag", **of("reader", "logs"))
            del good.groups["reader"]  # an answer that lacks it, though its offsets are there: it is not gone
            one("good").until_value(1, "consumer_group_state", state="unknown", messaging_consumer_group_name="reader")
            one("good").until_value(25, "consumer_lag", **of("reader", "logs"))
            good.commit("reader", {})
            one("good").until_absent("consumer_group_state", messaging_consumer_group_name="reader")
            assert "runtime error" not in watch.log(), watch.log()


if __name__ == "__main__":
    main()
