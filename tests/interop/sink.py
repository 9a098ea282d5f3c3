# SPDX-License-Identifier: Apache-2.0
"""An OTLP/HTTP backend for tests, on the official protobuf messages: decodes strictly, checks, joins, and answers as told.

    python sink.py [--port 0] [--cert FILE --key FILE]      prints "listening PORT" when it is ready; ends at SIGTERM, or
                                                            with its standard input when that is a pipe

    POST /v1/traces|logs|metrics   application/x-protobuf, identity or gzip
    POST /control   {"answers": [ANSWER, ...]}   the next requests get these, one each; then 200 again
                    {"refuse_marker": "test.refuse"}   400 for a request with an item that has such an attribute (null: off)
                    {"clear": true}              forget what arrived
      ANSWER  {"status": 503, "retry_after": "1", "body": "text"}   not kept unless 2xx
              {"slow": 0.5}       answers after that many seconds        {"partial": 2}     2xx, refuses the first two items
              {"reset": true}     connection reset, not kept              {"lose": true}     kept, then the connection is reset
              {"garbage": true}   kept, 200 with a body that is no OTLP   {"nonsense": true} bytes that are no HTTP, not kept
              {"huge": N}         503 with a body of N bytes              {"headers": N}     endless headers, N bytes, not kept
              "slow" goes together with the others.
    GET /report[?services=a,b,c][&root_service=a][&root_name=n]    JSON: requests, answers by status, connections, spans,
        unique_spans, duplicates, traces, roots (spans without parent and links), joined (roots whose work reached all the
        services, by children and links), orphans (parent not seen), services, logs, metrics (last values), errors
        (sentence: count; empty is what you want)
    GET /spans, /logs, /exemplars   JSON lists of what arrived
"""
import argparse
import gzip
import json
import os
import signal
import socket
import ssl
import stat
import struct
import sys
import threading
import time
import zlib
from collections import Counter, deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import otlp_check

PATHS = {"/v1/" + name: name for name in otlp_check.SHAPES}
REQUEST_MAX = 4 << 20  # what backends commonly take


class Sink:
    """State behind the port."""

    def __init__(self):
        self.lock = threading.Lock()
        self.store = otlp_check.Store()
        self.answers = deque()
        self.refuse_marker = None
        self.requests, self.connections, self.largest = 0, 0, 0
        self.open = 0  # connections whose end was not read yet
        self.given = Counter()
        self.last_headers = {}

    def control(self, orders):
        with self.lock:
            if orders.get("clear"):
                self.store = otlp_check.Store()
                self.answers.clear()
                self.requests, self.connections, self.largest = 0, 0, 0
                self.given = Counter()
            self.answers.extend(orders.get("answers", []))
            if "refuse_marker" in orders:
                self.refuse_marker = orders["refuse_marker"]
            return {"answers_left": len(self.answers)}

    def report(self, query):
        with self.lock:
            services = [s for s in query.get("services", [""])[0].split(",") if s]
            report = self.store.report(services, query.get("root_service", [None])[0], query.get("root_name", [None])[0])
            report |= {"requests": self.requests, "answers": dict(self.given), "connections": self.connections,
                       "largest_request": self.largest}
            return report


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.sink.lock:
            self.server.sink.connections += 1
            self.server.sink.open += 1

    def finish(self):
        try:
            super().finish()
        finally:
            with self.server.sink.lock:
                self.server.sink.open -= 1

    def log_message(self, *_):
        pass

    def reply(self, status, body=b"", content_type="application/json", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()  # with rfile, which still holds it: before the server would send a FIN

    def do_GET(self):
        parts = urlsplit(self.path)
        sink = self.server.sink
        if parts.path == "/report":
            return self.reply(200, json.dumps(sink.report(parse_qs(parts.query))).encode())
        with sink.lock:
            lists = {"/spans": list(sink.store.spans.values()), "/logs": sink.store.logs, "/exemplars": sink.store.exemplars}
            body = json.dumps(lists.get(parts.path)).encode()
        return self.reply(200 if parts.path in lists else 404, body)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/control":
            return self.reply(200, json.dumps(self.server.sink.control(json.loads(body))).encode())
        kind = PATHS.get(self.path)
        return self.export(kind, body) if kind else self.reply(404)

    def check_headers(self, errors):
        if self.headers.get("Content-Type") != "application/x-protobuf":
            errors["http: wrong content type"] += 1
        if self.headers.get("Expect") is not None:
            errors["http: Expect was sent"] += 1
        if not self.headers.get("User-Agent", "").startswith("sonde/"):
            errors["http: no user agent of ours"] += 1

    def export(self, kind, body):
        sink = self.server.sink
        with sink.lock:
            sink.requests += 1
            answer = sink.answers.popleft() if sink.answers else {}
            self.check_headers(sink.store.errors)
            sink.last_headers = dict(self.headers.items())
            try:
                if self.headers.get("Content-Encoding", "identity") == "gzip":
                    body = gzip.decompress(body)
            except (OSError, EOFError, zlib.error) as error:
                sink.store.errors[f"http: bad gzip: {error}"] += 1
                return self.reply(400)
            sink.largest = max(sink.largest, len(body))
            if len(body) >= REQUEST_MAX:
                sink.store.errors["http: request over 4 MiB"] += 1
            request = sink.store.decode(kind, body)
            refused = sink.refuse_marker and request and otlp_check.has_marker(kind, request, sink.refuse_marker)
        if "slow" in answer:
            time.sleep(answer["slow"])
        status = 400 if request is None or refused else answer.get("status", 503 if "huge" in answer else 200)
        if answer.get("reset") or answer.get("nonsense") or answer.get("headers"):
            status = 0
        with sink.lock:
            sink.given[str(status)] += 1
            if 200 <= status <= 299:
                sink.store.add(kind, request, answer.get("partial", 0))
        return self.answer(kind, status, answer)

    def answer(self, kind, status, answer):
        if answer.get("reset") or answer.get("lose"):
            return self.reset()
        if answer.get("nonsense"):
            self.close_connection = True
            return self.wfile.write(b"\x00\x01\x02 this is no HTTP \r\n\r\n")
        if answer.get("headers"):
            self.close_connection = True
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: 0123456789012345678901234567890123456789\r\n" * (answer["headers"] // 50))
            except OSError:
                pass  # the client had enough
            return None
        body = answer.get("body", "").encode()
        content_type = "text/plain" if body else "application/x-protobuf"
        if answer.get("garbage"):
            body = b"<html>it works</html>"
        if answer.get("partial"):
            response, count = otlp_check.RESPONSES[kind]
            message = response(partial_success={count: answer["partial"], "error_message": "told to"})
            body = message.SerializeToString()
        if answer.get("huge"):
            body = b"x" * answer["huge"]
        headers = [("Retry-After", answer["retry_after"])] if "retry_after" in answer else []
        try:
            return self.reply(status, body, content_type, headers)
        except OSError:
            return None  # the client had enough


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):  # resets are what we are here for
            super().handle_error(request, client_address)


def serve(port=0, cert=None, key=None):
    """Starts a sink on 127.0.0.1 in a thread; returns its server (server.sink, server.server_port, server.shutdown())."""
    server = Server(("127.0.0.1", port), Handler)
    server.sink = Sink()
    if cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    return server


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    arguments = parser.parse_args()
    server = serve(arguments.port, arguments.cert, arguments.key)
    print(f"listening {server.server_port}", flush=True)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=lambda: (sys.stdin.read(), stopped.set()), daemon=True).start()
    stopped.wait()
    server.shutdown()


if __name__ == "__main__":
    main()
