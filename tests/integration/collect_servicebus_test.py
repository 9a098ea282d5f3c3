# SPDX-License-Identifier: Apache-2.0
"""The Azure Service Bus collector against a namespace that is strict: it checks the signature of every request, and answers
as Azure's management does. Usage: collect_servicebus_test.py BUILD. What is true is what this test says waits there."""
import base64
import contextlib
import hashlib
import hmac
import http.server
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

from collect_rig import check_refused, liar, watching

HOST, KEY_NAME, KEY = "shop.servicebus.windows.net", "Root Manage", "c2VjcmV0K2tleS93aXRoPT0="
CONNECTION = f"Endpoint=sb://{HOST}/;SharedAccessKeyName={KEY_NAME};SharedAccessKey={KEY}"
COUNTS = ("ActiveMessageCount", "DeadLetterMessageCount", "ScheduledMessageCount", "TransferMessageCount",
          "TransferDeadLetterMessageCount")
ACCESSED = "2026-03-04T05:06:07.8901234Z"
ACCESSED_UNIX = 1772600767


class Namespace:
    """What waits: queues {name: counts}, topics {name: {subscription: counts}}; counts in the order of COUNTS."""

    def __init__(self):
        self.queues, self.topics = {}, {}
        self.key, self.answer, self.paths, self.wrong = KEY, None, [], []

    def check(self, headers):
        """None, or why a request is refused. Source: Microsoft Learn, "Service Bus access control with SAS"."""
        scheme, _, rest = headers.get("Authorization", "").partition(" ")
        if scheme != "SharedAccessSignature":
            return "no token"
        raw = dict(pair.split("=", 1) for pair in rest.split("&"))
        if set(raw) != {"sr", "sig", "se", "skn"} or urllib.parse.unquote(raw["skn"]) != KEY_NAME:
            return "fields"
        if urllib.parse.unquote(raw["sr"]) != f"https://{HOST}/" or not 0 < int(raw["se"]) - time.time() <= 3600:
            return "scope or time"
        mac = hmac.new(self.key.encode(), f"{raw['sr']}\n{raw['se']}".encode(), hashlib.sha256).digest()
        return None if base64.b64encode(mac).decode() == urllib.parse.unquote(raw["sig"]) else "signature"

    @staticmethod
    def entry(name, kind, counts, size):
        inside = "".join(f"<d3p1:{n}>{c}</d3p1:{n}>" for n, c in zip(COUNTS, counts) if c is not None)
        return (f"<entry xml:base=\"https://{HOST}/$Resources/queues\"><id>https://{HOST}/x</id><title type=\"text\">{escape(name)}</title>"
                f"<published>2026-01-01T00:00:00Z</published><author><name>shop</name></author><content type=\"application/xml\">"
                f"<{kind} xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">"
                f"<LockDuration>PT1M</LockDuration><SizeInBytes>{size}</SizeInBytes><MessageCount>999</MessageCount>"
                f"<AccessedAt>{ACCESSED if size else '0001-01-01T00:00:00'}</AccessedAt>"
                f"<CountDetails xmlns:d3p1=\"http://schemas.microsoft.com/netservices/2011/06/servicebus\">{inside}</CountDetails>"
                f"</{kind}></content></entry>")

    def feed(self, path, query):
        if query.get("api-version") != ["2017-04"] or query.get("$top") != ["100"]:
            return 400, ""
        skip = int(query["$skip"][0])
        if path == "/$Resources/queues":
            entries = [self.entry(n, "QueueDescription", c, 1000) for n, c in sorted(self.queues.items())]
        elif path == "/$Resources/topics":
            entries = [self.entry(n, "TopicDescription", (0, 0, 7, 0, 0), 2000) for n in sorted(self.topics)]
        else:
            topic = urllib.parse.unquote(path).removesuffix("/subscriptions").removeprefix("/")
            if topic not in self.topics:
                return 404, ""
            entries = [self.entry(n, "SubscriptionDescription", c, 0) for n, c in sorted(self.topics[topic].items())]
        return 200, (f'<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title type="text">all</title>'
                     f"<id>https://{HOST}/</id><updated>2026-01-01T00:00:00Z</updated>{''.join(entries[skip:skip + 100])}</feed>")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def do_GET(self):
        space, parts = self.server.space, urllib.parse.urlsplit(self.path)
        if self.server.down:  # connections that were kept end with the server
            self.close_connection = True
            return
        space.paths.append(parts.path)
        problem = space.check(self.headers)
        headers = {}
        if problem:
            space.wrong.append(problem)
            status, body = 401, f"<Error><Code>401</Code><Detail>{problem}</Detail></Error>"
        elif space.answer:
            status, headers, body = space.answer
        else:
            status, body = space.feed(parts.path, urllib.parse.parse_qs(parts.query))
        data = body.encode()
        self.send_response(status)
        for name, value in ({"Content-Type": "application/atom+xml;type=feed;charset=utf-8", "Content-Length": len(data)} | headers).items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    down = False

    def handle_error(self, request, client_address):
        pass  # agents that are stopped reset connections


@contextlib.contextmanager
def serving(space, port=0):
    server = Server(("127.0.0.1", port), Handler)
    server.space = space
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.down = True
        server.shutdown()
        server.server_close()
        thread.join()


def collector(port, more="", name="servicebus", where=f"connection_string: '{CONNECTION}'"):
    return f"  {name}: {{{where}, endpoint: 'http://127.0.0.1:{port}', interval: 200ms, timeout: 5s, {more}}}\n"


def queue(name, **more):
    return {"messaging_destination_name": name, "messaging_system": "servicebus", "server_address": HOST} | more


def waits_what_was_sent(space, watch):
    watch.until_value(5, "queue_message", **queue("orders", state="ready"))
    expected = {("ready", ""): 5, ("dead_lettered", ""): 2, ("scheduled", ""): 3, ("transfer", ""): 1, ("dead_lettered", "transfer"): 4}
    found = {(l["state"], l.get("kind", "")): v for n, l, v in watch.series()
             if n == "sonde_messaging_queue_message" and l["messaging_destination_name"] == "orders"}
    assert found == expected, found
    assert watch.value("consumer_lag", **queue("orders")) == 5 and watch.value("queue_size_bytes", **queue("orders")) == 1000
    assert watch.value("queue_accessed_timestamp_seconds", **queue("orders")) == ACCESSED_UNIX
    space.queues["orders"] = (0, 2, 3, 1, 4)
    watch.until_value(0, "consumer_lag", **queue("orders"))
    news = queue("news/today", messaging_destination_subscription_name="mail")
    watch.until_value(6, "consumer_lag", **news)
    assert watch.value("queue_message", state="dead_lettered", kind="transfer", **news) == 0
    assert len(watch.values("queue_message", state="dead_lettered", **news)) == 1  # of others the namespace did not say
    assert not watch.values("queue_accessed_timestamp_seconds", **news)  # the year 1 is never
    of_topic = queue("news/today", messaging_destination_subscription_name=None)
    assert watch.value("queue_message", state="scheduled", **of_topic) == 7 and watch.value("queue_size_bytes", **of_topic) == 2000
    assert len(watch.values("consumer_lag")) == 1 + 5 + 2, "of three pages of queues, and two subscriptions"
    assert watch.value("consumer_lag", **queue("many-204")) == 0 and not watch.values("consumer_lag", **queue("private"))
    watch.until(lambda: watch.exported("consumer.lag", messaging_destination_name="orders")[-1:] == [0], "OTLP")
    watch.until(lambda: watch.exported("queue.message", messaging_destination_subscription_name="mail", state="ready") == [6], "OTLP")


def busy_wrong_gone(space, watch):
    space.answer = (429, {"Retry-After": 1}, "<Error><Code>429</Code><Detail>SubCode=40901</Detail></Error>")
    watch.until_down("throttled")
    assert watch.value("poll_throttled_total") >= 1 and not watch.values("consumer_lag", **queue("orders"))
    space.answer = (503, {"Retry-After": 1}, "busy")
    watch.until(lambda: watch.value("poll_throttled_total") >= 2, "503 with Retry-After")
    space.answer = None
    watch.until_value(1, "poll_up")
    space.key = "another"
    watch.until_down("auth")
    assert KEY not in watch.log()
    space.key = KEY
    watch.until_value(1, "poll_up")
    bomb = '<?xml version="1.0"?><!DOCTYPE feed [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><feed>&b;</feed>'
    for body in (bomb, "<feed><entry>", "<html/>", "", "<a>" * 5000):
        before = watch.value("poll_errors_total", error_type="protocol") or 0
        space.answer = (200, {}, body)
        watch.until(lambda before=before: (watch.value("poll_errors_total", error_type="protocol") or 0) > before, body[:20])
    assert watch.value("poll_up") == 0
    space.answer = None
    watch.until_value(1, "poll_up")


def limits(port):
    parts = f"namespace: {HOST}, key_name: '{KEY_NAME}', key: '{KEY}'"
    with watching(collector(port, "queues_max: 150, topics_max: 1, subscriptions_max: 1", where=parts)) as watch:
        watch.until_value(1, "poll_truncated")
        assert watch.value("poll_up") == 1 and len(watch.values("consumer_lag")) == 151


def main():
    check_refused("servicebus: {}", "namespace", "connection_string")
    check_refused("servicebus: {connection_string: 'Endpoint=sb://x/;SharedAccessKeyName=n'}", "connection_string", "SharedAccessKey=KEY")
    check_refused("servicebus: {connection_string: 'Endpoint=sb://x/;SharedAccessKeyName=n;SharedAccessKey=k', key: k}", "not together")
    space = Namespace()
    space.queues = {f"many-{i:03}": (0, 0, 0, 0, 0) for i in range(205)} | {"orders": (5, 2, 3, 1, 4), "private": (1,) * 5}
    space.topics = {"news/today": {"mail": (6, None, 0, 0, 0), "text": (0,) * 5}, "quiet": {}}
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(serving(space))
        with liar() as silent, liar(b"\x00\x01garbage\r\n\r\n") as garbage, watching(collector(port, "exclude: [private, 'many-[01].*']")) as watch:
            waits_what_was_sent(space, watch)
            busy_wrong_gone(space, watch)
            stack.close()
            watch.until_value(0, "poll_up")
            watch.until(lambda: not watch.values("consumer_lag"), "stale counts are gone")
            stack.enter_context(serving(space, port))
            watch.until_value(1, "poll_up")
            for name, lying, error in (("silent", silent, "timeout"), ("garbage", garbage, "protocol")):
                with watching(collector(lying, "", f"servicebus/{name}").replace("5s", "300ms")) as other:
                    other.until_down(error)
        limits(port)
    assert set(space.wrong) == {"signature"}, space.wrong  # while the key was another


if __name__ == "__main__":
    main()
