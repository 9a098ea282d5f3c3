# SPDX-License-Identifier: Apache-2.0
"""Drives examples/w3c_harness_service.c as the test harness of W3C Trace Context does, case by case under its names: sends
headers, and looks at those of the requests that come back. The harness itself is at github.com/w3c/trace-context, test/.

    python w3c_harness_test.py PATH-OF-w3c-harness-service
"""
import http.client
import http.server
import json
import re
import subprocess
import sys
import threading
import unittest

SERVICE = None
TRACE = "12345678901234567890123456789012"
PARENT = "1234567890123456"
GOOD = f"00-{TRACE}-{PARENT}-01"
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Callbacks(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.server.seen.append(self.headers)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Harness(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Callbacks)
        cls.server.seen = []
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.service = subprocess.Popen([SERVICE, "0"], stdout=subprocess.PIPE, text=True)
        cls.port = int(cls.service.stdout.readline().rsplit(":", 1)[1])

    @classmethod
    def tearDownClass(cls):
        cls.service.terminate()
        assert cls.service.wait(10) == 0, cls.service.returncode
        cls.service.stdout.close()
        cls.server.shutdown()
        cls.server.server_close()

    def send(self, *headers, count=1):
        """(trace id, parent id, flags, tracestate) of each request that comes back."""
        body = json.dumps([{"url": f"http://127.0.0.1:{self.server.server_port}/callback/{i}", "arguments": []}
                           for i in range(count)]).encode()
        self.server.seen.clear()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.putrequest("POST", "/test")
        for name, value in headers + (("Content-Type", "application/json"), ("Content-Length", str(len(body)))):
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200, answer.read())
        connection.close()
        self.assertEqual(len(self.server.seen), count)
        return [self.context(seen) for seen in self.server.seen]

    def context(self, headers):
        traceparents = headers.get_all("traceparent", [])
        self.assertEqual(len(traceparents), 1, traceparents)
        match = TRACEPARENT.fullmatch(traceparents[0])
        self.assertIsNotNone(match, traceparents[0])
        trace, parent, flags = match.groups()
        self.assertNotEqual(int(trace, 16), 0)
        self.assertNotEqual(int(parent, 16), 0)
        return trace, parent, int(flags, 16), ",".join(headers.get_all("tracestate", []))

    def kept(self, *headers):
        """The trace goes on, under another parent-id. Returns the tracestate."""
        (trace, parent, _, tracestate), = self.send(*headers)
        self.assertEqual(trace, TRACE, headers)
        self.assertNotEqual(parent, PARENT, headers)
        return tracestate

    def restarted(self, *headers):
        """Another trace begins, without the tracestate."""
        (trace, _, _, tracestate), = self.send(*headers)
        self.assertNotEqual(trace, TRACE, headers)
        self.assertEqual(tracestate, "", headers)

    def refused(self, *values):
        for value in values:
            with self.subTest(traceparent=value):
                self.restarted(("traceparent", value), ("tracestate", "foo=1"))

    def state(self, *values):
        return self.kept(("traceparent", GOOD), *(("tracestate", value) for value in values))


class TraceContextTest(Harness):
    def test_both_traceparent_and_tracestate_missing(self):
        self.restarted()

    def test_traceparent_included_tracestate_missing(self):
        self.assertEqual(self.kept(("traceparent", GOOD)), "")

    def test_traceparent_duplicated(self):
        self.restarted(("traceparent", GOOD.replace("-01", "-00")), ("traceparent", f"00-{TRACE[::-1]}-{PARENT}-01"))
        self.restarted(("traceparent", GOOD), ("traceparent", GOOD))

    def test_traceparent_header_name(self):
        for name in ("trace-parent", "trace.parent"):
            self.restarted((name, GOOD))

    def test_traceparent_header_name_valid_casing(self):
        for name in ("TraceParent", "TrAcEpArEnT", "TRACEPARENT"):
            self.kept((name, GOOD))

    def test_traceparent_version_0x00(self):
        self.refused(GOOD + ".", GOOD + "-what-the-future-will-be-like")

    def test_traceparent_version_0xcc(self):
        future = "cc" + GOOD[2:]
        self.kept(("traceparent", future))
        self.kept(("traceparent", future + "-what-the-future-will-be-like"))
        self.refused(future + ".what-the-future-will-be-like")

    def test_traceparent_version_0xff(self):
        self.refused("ff" + GOOD[2:])

    def test_traceparent_version_illegal_characters(self):
        self.refused(".0" + GOOD[2:], "0." + GOOD[2:])

    def test_traceparent_version_too_long(self):
        self.refused("000" + GOOD[2:], "0000" + GOOD[2:])

    def test_traceparent_version_too_short(self):
        self.refused("0" + GOOD[2:])

    def test_traceparent_trace_id_all_zero(self):
        self.refused(f"00-{'0' * 32}-{PARENT}-01")

    def test_traceparent_trace_id_illegal_characters(self):
        self.refused(f"00-.{TRACE[1:]}-{PARENT}-01", f"00-{TRACE[:-1]}.-{PARENT}-01", f"00-{'A' * 32}-{PARENT}-01")

    def test_traceparent_trace_id_too_long(self):
        self.refused(f"00-{TRACE}3-{PARENT}-01")

    def test_traceparent_trace_id_too_short(self):
        self.refused(f"00-{TRACE[1:]}-{PARENT}-01")

    def test_traceparent_parent_id_all_zero(self):
        self.refused(f"00-{TRACE}-{'0' * 16}-01")

    def test_traceparent_parent_id_illegal_characters(self):
        self.refused(f"00-{TRACE}-.{PARENT[1:]}-01", f"00-{TRACE}-{PARENT[:-1]}.-01")

    def test_traceparent_parent_id_too_long(self):
        self.refused(f"00-{TRACE}-{PARENT}7-01")

    def test_traceparent_parent_id_too_short(self):
        self.refused(f"00-{TRACE}-{PARENT[1:]}-01")

    def test_traceparent_trace_flags_illegal_characters(self):
        self.refused(GOOD[:-2] + ".0", GOOD[:-2] + "0.")

    def test_traceparent_trace_flags_too_long(self):
        self.refused(GOOD + "1")

    def test_traceparent_trace_flags_too_short(self):
        self.refused(GOOD[:-1])

    def test_traceparent_ows_handling(self):
        for value in (f" {GOOD}", f"\t{GOOD}", f"{GOOD} ", f"{GOOD}\t", f"\t {GOOD} \t"):
            self.kept(("traceparent", value))

    def test_tracestate_included_traceparent_missing(self):
        self.restarted(("tracestate", "foo=1"))
        self.restarted(("tracestate", "foo=1,bar=2"))

    def test_tracestate_included_traceparent_included(self):
        self.assertEqual(self.state("foo=1,bar=2"), "foo=1,bar=2")

    def test_tracestate_header_name(self):
        for name in ("trace-state", "trace.state"):
            self.assertEqual(self.kept(("traceparent", GOOD), (name, "foo=1")), "")

    def test_tracestate_header_name_valid_casing(self):
        for name in ("TraceState", "TrAcEsTaTe", "TRACESTATE"):
            self.assertEqual(self.kept(("traceparent", GOOD), (name, "foo=1")), "foo=1")

    def test_tracestate_empty_header(self):
        self.assertEqual(self.state(""), "")
        self.assertEqual(self.state("foo=1", ""), "foo=1")
        self.assertEqual(self.state("", "foo=1"), "foo=1")

    def test_tracestate_multiple_headers_different_keys(self):
        self.assertEqual(self.state("foo=1,bar=2", "rojo=1,congo=2", "baz=3"), "foo=1,bar=2,rojo=1,congo=2,baz=3")

    def test_tracestate_duplicated_keys(self):
        for values in (["foo=1,foo=1"], ["foo=1,foo=2"], ["foo=1", "foo=1"], ["foo=1", "foo=2"]):
            self.assertRegex(self.state(*values), "foo=[12]")

    def test_tracestate_all_allowed_characters(self):
        key = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
        value = "".join(chr(c) for c in range(0x20, 0x7f) if chr(c) not in ",=").strip()
        for member in (f"{key}={value}", f"{key}@a-z0-9_-*/={value}"):
            self.assertEqual(self.state(member), member)

    def test_tracestate_ows_handling(self):
        for value in ("foo=1 \t , \t bar=2, \t baz=3", "foo=1\t \t,\t \tbar=2,\t \tbaz=3", " foo=1,bar=2,baz=3",
                      "foo=1,bar=2,baz=3\t", "\tfoo=1,bar=2,baz=3 \t "):
            self.assertEqual(self.state(value), "foo=1,bar=2,baz=3")

    def test_tracestate_key_illegal_characters(self):
        for value in ("foo =1", "FOO=1", "foo.bar=1"):
            self.assertEqual(self.state(value), "")

    def test_tracestate_key_illegal_vendor_format(self):
        for value in ("foo@=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2"):  # level 2 lets @ stand anywhere else
            self.assertEqual(self.state(value), value)
        self.assertEqual(self.state("@foo=1,bar=2"), "")

    def test_tracestate_member_count_limit(self):
        members = [f"bar{i:02}={i:02}" for i in range(1, 34)]
        self.assertEqual(self.state(",".join(members[:32])), ",".join(members[:32]))
        self.assertEqual(self.state(",".join(members)), "")

    def test_tracestate_key_length_limit(self):
        for member in ("z" * 256 + "=1", "t" * 241 + "@" + "v" * 14 + "=1"):
            self.assertEqual(self.state("foo=1," + member), "foo=1," + member)
        self.assertEqual(self.state("foo=1," + "z" * 257 + "=1"), "")

    def test_tracestate_value_illegal_characters(self):
        for value in ("foo=bar=baz", "foo=,bar=3"):
            self.assertEqual(self.state(value), "")


class AdvancedTest(Harness):
    def three(self, *headers):
        contexts = self.send(*headers, count=3)
        self.assertEqual(len({parent for _, parent, _, _ in contexts}), 3, contexts)
        return {trace for trace, _, _, _ in contexts}

    def test_multiple_requests_with_valid_traceparent(self):
        self.assertEqual(self.three(("traceparent", GOOD)), {TRACE})

    def test_multiple_requests_without_traceparent(self):
        self.assertEqual(len(self.three()), 1)

    def test_multiple_requests_with_illegal_traceparent(self):
        traces = self.three(("traceparent", "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-1."))
        self.assertNotIn("f" * 32, traces)


class TraceContext2Test(Harness):
    def test_propagates_random_flag(self):
        for flags in ("02", "03"):
            (trace, _, sent, _), = self.send(("traceparent", f"00-{TRACE}-{PARENT}-{flags}"))
            self.assertEqual(trace, TRACE)
            self.assertEqual(sent & 2, 2)

    def test_unknown_flags_are_masked(self):
        (trace, _, sent, _), = self.send(("traceparent", f"00-{TRACE}-{PARENT}-ff"))
        self.assertEqual((trace, sent), (TRACE, 3))

    def test_sampled_flag_goes_on(self):
        for flags in (0, 1):
            (_, _, sent, _), = self.send(("traceparent", f"00-{TRACE}-{PARENT}-0{flags}"))
            self.assertEqual(sent & 1, flags)


if __name__ == "__main__":
    SERVICE = sys.argv.pop(1)
    unittest.main()
