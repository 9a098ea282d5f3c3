# SPDX-License-Identifier: Apache-2.0
"""The exporter against an OTLP backend on the official messages that answers 429, 503, slowly, never, with rubbish.

    python otlp_http_test.py PATH-OF-otlp_http_peer       (77 = skipped: the packages of requirements.txt are not there)
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

try:
    import sink
except ImportError as error:
    print(f"skipped: {error}; script/test makes the venv")
    sys.exit(77)

PEER = None
SPANS = 1000  # 20 records of 50
DEAD_PROXY = {"http_proxy": "", "https_proxy": "", "all_proxy": "", "HTTPS_PROXY": "", "ALL_PROXY": "", "no_proxy": "*"}


class Backend(unittest.TestCase):
    def setUp(self):
        self.server = sink.serve()
        self.sink = self.server.sink
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def tearDown(self):
        self.server.shutdown()
        self.server.server_close()

    def run_peer(self, late=False, **arguments):
        words = [f"{key}={value}" for key, value in ({"endpoint": self.endpoint} | arguments).items()]
        done = subprocess.run([PEER, *words], capture_output=True, text=True, timeout=60, env=os.environ | DEAD_PROXY)
        self.log = done.stderr
        self.assertEqual(done.returncode, 1 if late else 0, done.stdout + done.stderr)
        result = json.loads(done.stdout)
        self.assertTrue(result["balance"], result)
        self.report = self.sink.report({})
        self.assertEqual(self.report["errors"], {})
        return result

    def expect(self, result, delivered=SPANS, duplicates=0, rejected=0):
        self.assertEqual(result["delivered"], delivered, result)
        self.assertEqual(result["rejected"], rejected, result)
        self.assertEqual(self.report["unique_spans"], delivered, self.report)
        self.assertLessEqual(self.report["duplicates"], duplicates, self.report)
        self.assertEqual(result["in_flight"], 0)


class WhatIsRetryableIsNotLost(Backend):
    def test_all_is_well(self):
        for gzip in (0, 1):
            self.sink.control({"clear": True})
            result = self.run_peer(gzip=gzip)
            self.expect(result)
            self.assertEqual(result["errors"], 0)
            self.assertLessEqual(self.report["connections"], 4)  # kept alive
            self.assertGreater(self.report["requests"], 8)

    def test_headers_of_the_configuration_are_sent(self):
        self.run_peer()
        headers = self.sink.last_headers
        self.assertEqual((headers["Authorization"], headers["X-Empty"]), ("Bearer 123", ""))
        self.assertEqual((headers["User-Agent"], headers["Content-Encoding"]), ("sonde/0.1.0", "gzip"))

    def test_statuses_that_pass(self):
        answers = [{"status": s} for s in (429, 502, 503, 504)] * 2
        answers += [{"status": 429, "retry_after": "1"}, {"status": 503, "retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}]
        self.sink.control({"answers": answers})
        self.expect(self.run_peer())
        self.assertEqual(self.report["answers"]["503"], 3)

    def test_connections_that_are_reset(self):
        self.sink.control({"answers": [{"reset": True}, {}, {"reset": True}, {"reset": True}]})
        result = self.run_peer()
        self.expect(result)
        self.assertIn("no answer", self.log)

    def test_answers_that_are_lost_double_only_what_was_unanswered(self):
        self.sink.control({"answers": [{}, {"lose": True}, {}, {"lose": True}]})
        result = self.run_peer()
        self.expect(result, duplicates=400)
        self.assertGreater(self.report["duplicates"], 0)

    def test_slow_answers_in_time(self):
        self.sink.control({"answers": [{"slow": 0.2}] * 6})
        result = self.run_peer()
        self.expect(result)
        self.assertEqual(result["errors"], 0)

    def test_slow_answers_too_late(self):
        self.sink.control({"answers": [{"slow": 1.5, "status": 503}, {}, {"slow": 1.5, "status": 503}]})
        result = self.run_peer(timeout_ms=300)
        self.expect(result)
        self.assertGreaterEqual(result["errors"], 2)

    def test_bytes_that_are_no_http(self):
        self.sink.control({"answers": [{"nonsense": True}, {"nonsense": True}]})
        self.expect(self.run_peer())

    def test_backend_that_comes_late(self):
        port = self.server.server_port
        self.server.shutdown()
        self.server.server_close()
        words = [f"endpoint=http://127.0.0.1:{port}", "records=20"]
        peer = subprocess.Popen([PEER, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                env=os.environ | DEAD_PROXY)
        self.assertIn("retrying in", peer.stderr.readline())
        self.server = sink.serve(port)
        out, err = peer.communicate(timeout=30)
        self.report = self.server.sink.report({})
        self.expect(json.loads(out))
        self.assertIn("delivering again", err)


class WhatIsFinalIsCounted(Backend):
    def test_rubbish_with_a_2xx_is_delivered(self):
        self.sink.control({"answers": [{"garbage": True}, {"status": 202}, {"garbage": True}]})
        self.expect(self.run_peer())
        self.assertEqual(self.log.count("not OTLP"), 1)  # told once

    def test_partial_success_is_not_sent_again(self):
        self.sink.control({"answers": [{"partial": 3}, {}, {"partial": 2}]})
        result = self.run_peer()
        self.assertEqual((result["delivered"], result["refused"]), (SPANS - 5, 5))
        self.assertEqual((self.report["unique_spans"], self.report["duplicates"]), (SPANS - 5, 0))

    def test_refused_spans_are_found_and_the_others_delivered(self):
        self.sink.control({"refuse_marker": "test.refuse"})
        result = self.run_peer(refuse=",1,333,334,1000,", batch_size=200000)
        self.expect(result, delivered=SPANS - 4, rejected=4)
        spans = self.sink.store.spans
        self.assertEqual([n for n in range(1, SPANS + 1) if f"{n:016x}" not in spans], [1, 333, 334, 1000])

    def test_too_large_requests_are_halved(self):
        self.sink.control({"answers": [{"status": 413}] * 3})
        self.expect(self.run_peer(batch_size=200000, concurrency=1))

    def test_redirects_are_not_followed(self):
        self.sink.control({"answers": [{"status": 307}]})
        result = self.run_peer(batch_size=200000)
        self.expect(result, delivered=0, rejected=SPANS)
        self.assertEqual(self.report["requests"], 1)

    def test_endless_answers_are_cut_off(self):
        for answer in ({"huge": (4 << 20) + 1}, {"headers": 10 << 20}):
            self.sink.control({"clear": True, "answers": [answer]})
            result = self.run_peer(batch_size=200000)
            self.expect(result, delivered=0, rejected=SPANS)
            self.assertEqual(self.report["requests"], 1)
        self.sink.control({"clear": True, "answers": [{"huge": 4 << 20}]})  # the limit itself is read
        self.expect(self.run_peer(batch_size=200000))


class TheEnd(Backend):
    def test_stop_with_the_backend_down_keeps_all(self):
        with socket.socket() as nobody:  # bound and not listening: refused
            nobody.bind(("127.0.0.1", 0))
            endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
            result = self.run_peer(late=True, endpoint=endpoint, stop_ms=100, deadline_ms=700)
        self.assertEqual((result["delivered"], result["rejected"], result["released"]), (0, 0, 0))
        self.assertGreater(result["retries"], 1)

    def test_stop_with_a_backend_that_never_answers(self):
        self.sink.control({"answers": [{"slow": 4, "status": 503}] * 40})
        result = self.run_peer(late=True, timeout_ms=10000, stop_ms=100, deadline_ms=500)
        self.assertEqual(result["released"], 0)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        at = cls.folder.name
        for line in (
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca",
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out req.pem -subj /CN=localhost",
            "x509 -req -in req.pem -CA ca.pem -CAkey ca.key -CAcreateserial -out cert.pem -days 2 -extfile ext",
        ):
            with open(os.path.join(at, "ext"), "w", encoding="ascii") as ext:
                ext.write("subjectAltName=DNS:localhost")
            subprocess.run(["openssl", *line.split()], cwd=at, check=True, capture_output=True)
        cls.server = sink.serve(0, os.path.join(at, "cert.pem"), os.path.join(at, "key.pem"))
        cls.endpoint = f"https://localhost:{cls.server.server_port}"
        cls.ca = os.path.join(at, "ca.pem")

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.server.server_close()
        cls.folder.cleanup()

    def peer(self, **arguments):
        self.server.sink.control({"clear": True})
        words = [f"{key}={value}" for key, value in ({"endpoint": self.endpoint} | arguments).items()]
        return subprocess.run([PEER, *words], capture_output=True, text=True, timeout=60, env=os.environ | DEAD_PROXY)

    def test_with_the_authority_given(self):
        done = self.peer(ca_file=self.ca)
        self.assertEqual(json.loads(done.stdout)["delivered"], SPANS, done.stderr)
        self.assertEqual(self.server.sink.report({})["unique_spans"], SPANS)

    def test_without_it_nothing_is_sent_and_nothing_lost(self):
        done = self.peer(deadline_ms=500)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(json.loads(done.stdout)["released"], 0)
        self.assertIn("certificate", done.stderr)
        self.assertEqual(self.server.sink.report({})["requests"], 0)

    def test_with_the_wrong_name(self):
        done = self.peer(ca_file=self.ca, endpoint=self.endpoint.replace("localhost", "127.0.0.1"), deadline_ms=500)
        self.assertEqual(json.loads(done.stdout)["released"], 0)
        self.assertEqual(self.server.sink.report({})["requests"], 0)

    def test_unchecked_on_demand(self):
        done = self.peer(insecure=1)
        self.assertEqual(json.loads(done.stdout)["delivered"], SPANS, done.stderr)


if __name__ == "__main__":
    PEER = os.path.abspath(sys.argv.pop(1))
    unittest.main()
