# SPDX-License-Identifier: Apache-2.0
"""A Kafka cluster that is none: speaks enough of the protocol for a collector (ApiVersions, Metadata, ListGroups,
DescribeGroups, FindCoordinator, OffsetFetch, ListOffsets), as many groups and partitions as are asked for, and faults. For
what a real broker does not do when told: a leader that hangs, one partition's error, old versions, nonsense, ten thousand groups.

    with kafka_fake.Cluster(nodes=2) as cluster:
        cluster.topic("orders", leaders=[1, 2], ends=[100, 50])
        cluster.group("billing", {("orders", 0): 90})
        run(cluster.address)
"""
import socket
import struct
import threading

LIST_OFFSETS, METADATA, OFFSET_FETCH, FIND_COORDINATOR, DESCRIBE_GROUPS, LIST_GROUPS, API_VERSIONS = 2, 3, 9, 10, 15, 16, 18
FETCH = 1
NOT_LEADER = 6


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def compact_text(value):
    raw = value.encode()
    return varint(len(raw) + 1) + raw


def compact_array(items):
    return varint(len(items) + 1) + b"".join(items)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value, = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(form)
        return value

    def bytes(self, size):
        self.at += size
        return self.data[self.at - size:self.at]

    def text(self):
        size = self.take("h")
        return self.bytes(size).decode() if size >= 0 else None

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def compact_text(self):
        return self.bytes(self.varint() - 1).decode()


def assignment(topics):
    """What a member was given: {topic: [partition]}."""
    parts = [text(t) + array([struct.pack(">i", p) for p in ps]) for t, ps in topics.items()]
    return struct.pack(">h", 0) + array(parts) + struct.pack(">i", -1)


class Cluster:
    """versions: highest version by API; OffsetFetch up to 5 or 7. faults: {(api, node or None): function(request body) that returns
    bytes to send instead (of the whole answer, size included), or None for no answer at all}."""

    def __init__(self, nodes=1, offset_fetch=7):
        self.offset_fetch, self.faults, self.moved = offset_fetch, {}, {}
        self.topics, self.committed, self.groups, self.cached = {}, {}, {}, {}
        self.partition_errors, self.requests, self.lock = {}, {}, threading.Lock()
        self.listeners = {node: socket.create_server(("127.0.0.1", 0), backlog=64) for node in range(1, nodes + 1)}
        self.clients = []
        for node, listener in self.listeners.items():
            threading.Thread(target=self.accept, args=(node, listener), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in [*self.listeners.values(), *self.clients]:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def port(self, node=1):
        return self.listeners[node].getsockname()[1]

    @property
    def address(self):
        return f"127.0.0.1:{self.port()}"

    def topic(self, name, ends, leaders=None, earliest=0):
        """leaders: one a partition, node numbers."""
        self.topics[name] = {"ends": list(ends), "leaders": list(leaders or [1] * len(ends)), "earliest": earliest}

    def group(self, name, committed, state="Stable", members=(), protocol="consumer"):
        """members: an assignment each, {topic: [partition]}."""
        self.groups[name] = (state, list(members), protocol)
        self.commit(name, committed)

    def commit(self, name, committed):
        self.committed[name] = committed
        self.cached.pop(name, None)

    # --- the network ---

    def accept(self, node, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients.append(client)
            threading.Thread(target=self.serve, args=(node, client), daemon=True).start()

    def serve(self, node, client):
        try:
            with client, client.makefile("rb", 1 << 16) as stream:
                while True:
                    head = stream.read(4)
                    if len(head) < 4:
                        return
                    answer = self.answer(node, stream.read(struct.unpack(">i", head)[0]))
                    if answer is not None:
                        client.sendall(answer)
        except OSError:
            return

    def answer(self, node, data):
        request = Reader(data)
        api, version, correlation = request.take("h"), request.take("h"), request.take("i")
        request.text()
        flexible = (api, version) in ((API_VERSIONS, 3), (OFFSET_FETCH, 6), (OFFSET_FETCH, 7))
        if flexible:
            request.varint()
        with self.lock:
            self.requests[api] = self.requests.get(api, 0) + 1
        fault = self.faults.get((api, node)) or self.faults.get((api, None))
        if fault:
            return fault(correlation, request)
        body = self.ANSWERS[api](self, node, version, request)
        head = struct.pack(">i", correlation) + (b"\0" if flexible and api != API_VERSIONS else b"")
        return struct.pack(">i", len(head) + len(body)) + head + body

    # --- answers ---

    def api_versions(self, node, version, request):
        known = {LIST_OFFSETS: 2, METADATA: 4, OFFSET_FETCH: self.offset_fetch, FIND_COORDINATOR: 1, DESCRIBE_GROUPS: 0,
                 LIST_GROUPS: 0, API_VERSIONS: 3, FETCH: 4}
        rows = [struct.pack(">hhh", api, 0, most) for api, most in known.items()]
        if version < 3:
            return struct.pack(">h", 0) + array(rows) + (struct.pack(">i", 0) if version else b"")
        return struct.pack(">h", 0) + compact_array([row + b"\0" for row in rows]) + struct.pack(">i", 0) + b"\0"

    def metadata(self, node, version, request):
        count = request.take("i")
        names = list(self.topics) if count < 0 else [request.text() for _ in range(count)]
        brokers = [struct.pack(">i", n) + text("127.0.0.1") + struct.pack(">ih", self.port(n), -1) for n in self.listeners]
        topics = []
        for name in names:
            leaders = self.topics.get(name, {"leaders": []})["leaders"]
            parts = [struct.pack(">hii", 0, i, leader) + array([struct.pack(">i", leader)]) * 2 for i, leader in enumerate(leaders)]
            topics.append(struct.pack(">h", 0 if name in self.topics else 3) + text(name) + b"\0" + array(parts))
        return struct.pack(">i", 0) + array(brokers) + text("fake-cluster") + struct.pack(">i", 1) + array(topics)

    def coordinator(self, name):
        return 1 + len(name) % len(self.listeners)

    def list_groups(self, node, version, request):
        return struct.pack(">h", 0) + array([text(name) + text(protocol) for name, (_, _, protocol) in self.groups.items()
                                             if self.coordinator(name) == node])

    def describe_groups(self, node, version, request):
        found = []
        for _ in range(request.take("i")):
            name = request.text()
            state, members, protocol = self.groups[name]
            rows = [text(f"member-{i}") + text("client") + text("/127.0.0.1") + struct.pack(">i", 0)
                    + struct.pack(">i", len(assignment(topics))) + assignment(topics) for i, topics in enumerate(members)]
            found.append(struct.pack(">h", 0) + text(name) + text(state) + text("" if state == "Dead" else protocol) + text("range") + array(rows))
        return array(found)

    def find_coordinator(self, node, version, request):
        node = self.coordinator(request.text())
        where = struct.pack(">i", node) + text("127.0.0.1") + struct.pack(">i", self.port(node))
        return struct.pack(">ihh", 0, 0, -1) + where if version else struct.pack(">h", 0) + where

    def offset_fetch_answer(self, node, version, request):
        if version >= 6:
            name, count = request.compact_text(), request.varint() - 1
        else:
            name, count = request.text(), request.take("i")
        if count < 0 and name in self.cached:
            return self.cached[name]
        wanted = {}
        committed = self.committed.get(name, {})
        for _ in range(max(count, 0)):
            topic = request.compact_text() if version >= 6 else request.text()
            many = request.varint() - 1 if version >= 6 else request.take("i")
            wanted[topic] = [request.take("i") for _ in range(many)]
            if version >= 6:
                request.varint()
        for topic, partition in committed if count < 0 else ():
            wanted.setdefault(topic, []).append(partition)
        if version < 6:
            topics = [text(t) + array([struct.pack(">iqihh", p, committed.get((t, p), -1), -1, 0, 0) for p in ps]) for t, ps in wanted.items()]
            return struct.pack(">i", 0) + array(topics) + struct.pack(">h", 0)
        topics = [compact_text(t) + compact_array([struct.pack(">iqi", p, committed.get((t, p), -1), -1) + b"\1" + struct.pack(">h", 0) + b"\0"
                                                   for p in ps]) + b"\0" for t, ps in wanted.items()]
        answer = struct.pack(">i", 0) + compact_array(topics) + struct.pack(">h", 0) + b"\0"
        if count < 0:
            self.cached[name] = answer
        return answer

    def list_offsets(self, node, version, request):
        request.take("i")
        if version >= 2:
            request.take("b")
        topics = []
        for _ in range(request.take("i")):
            name, parts = request.text(), []
            for _ in range(request.take("i")):
                partition, when = request.take("i"), request.take("q")
                known = self.topics[name]
                error = self.partition_errors.get((name, partition), 0)
                if self.moved.get((name, partition), known["leaders"][partition]) != node:
                    error = NOT_LEADER
                offset = known["ends"][partition] if when == -1 else known["earliest"]
                parts.append(struct.pack(">ihqq", partition, error, -1, -1 if error else offset))
            topics.append(text(name) + array(parts))
        return (struct.pack(">i", 0) if version >= 2 else b"") + array(topics)

    ANSWERS = {API_VERSIONS: api_versions, METADATA: metadata, LIST_GROUPS: list_groups, DESCRIBE_GROUPS: describe_groups,
               FIND_COORDINATOR: find_coordinator, OFFSET_FETCH: offset_fetch_answer, LIST_OFFSETS: list_offsets}
