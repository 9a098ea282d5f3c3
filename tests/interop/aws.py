# SPDX-License-Identifier: Apache-2.0
"""Amazon's SQS, SNS, CloudWatch and STS for tests: moto behind a gate that checks every signature as the service would, and
ways to disturb it. The check is botocore's own implementation of Signature Version 4, given what arrived.

    with aws.cloud() as cloud:
        cloud.client("sqs").create_queue(QueueName="orders")
        run(cloud.endpoint)                    # http://127.0.0.1:PORT, key KEY, secret SECRET, region REGION
"""
import contextlib
import io
import json
import threading
import time
import urllib.parse
from datetime import datetime, timezone

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

REGION, KEY, SECRET, TOKEN = "eu-central-1", "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=signs"
SKEW_SECONDS = 300


class Refused(Exception):
    """What the service would say of the signature."""


def client(service, endpoint, key=KEY, secret=SECRET, token=None):
    config = botocore.config.Config(retries={"max_attempts": 1}, proxies={})
    return boto3.client(service, region_name=REGION, endpoint_url=endpoint, aws_access_key_id=key, aws_secret_access_key=secret,
                        aws_session_token=token, config=config)


def headers_of(environ):
    headers = {k[5:].replace("_", "-").lower(): v for k, v in environ.items() if k.startswith("HTTP_")}
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = environ[name]
    return headers


def verify(environ, body, keys):
    """keys: {access key id: (secret, session token or None)}. Returns the service that the request is signed for."""
    headers = headers_of(environ)
    algorithm, _, rest = headers.get("authorization", "").partition(" ")
    if algorithm != "AWS4-HMAC-SHA256":
        raise Refused("MissingAuthenticationToken")
    parts = dict(p.strip().split("=", 1) for p in rest.split(","))
    key, day, region, service, last = parts["Credential"].split("/")
    if key not in keys or last != "aws4_request" or region != REGION:
        raise Refused("InvalidClientTokenId")
    secret, token = keys[key]
    if token != headers.get("x-amz-security-token"):
        raise Refused("InvalidClientTokenId")
    signed = parts["SignedHeaders"].split(";")
    if sorted(signed) != signed or not {"host", "x-amz-date"} <= set(signed):
        raise Refused("IncompleteSignature: sorted, host, x-amz-date")
    missing = [h for h in headers if (h.startswith("x-amz-") or h == "content-type") and h not in signed]
    absent = [h for h in signed if h not in headers]
    if missing or absent:
        raise Refused(f"IncompleteSignature: not signed {missing}, not sent {absent}")
    then = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    if abs(time.time() - then.timestamp()) > SKEW_SECONDS or not headers["x-amz-date"].startswith(day):
        raise Refused("RequestExpired")
    url = f"http://{headers['host']}{environ['PATH_INFO']}"
    if environ.get("QUERY_STRING"):
        url += "?" + environ["QUERY_STRING"]
    request = botocore.awsrequest.AWSRequest(method=environ["REQUEST_METHOD"], url=url, data=body,
                                             headers={h: headers[h] for h in signed})
    request.context["timestamp"] = headers["x-amz-date"]
    signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(key, secret), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    if signer.signature(text, request) != parts["Signature"]:
        raise Refused("SignatureDoesNotMatch")
    return service


class Gate:
    """keys: who may; answer: None or f(action, body) -> None or (status, error code); requests: (service, action)."""

    def __init__(self):
        self.keys = {KEY: (SECRET, None)}
        self.answer = None
        self.page = 0  # queues in an answer of ListQueues; 0 = as asked for
        self.requests, self.refused = [], []
        self.lock = threading.Lock()
        self.app = DomainDispatcherApplication(create_backend_app)

    def client(self, service):
        key, (secret, token) = next(iter(self.keys.items()))
        return client(service, self.endpoint, key, secret, token)

    def seen(self, action):
        with self.lock:
            return sum(a == action for _, a in self.requests)

    @staticmethod
    def action_of(environ, body):
        target = environ.get("HTTP_X_AMZ_TARGET")
        if target:
            return target.rpartition(".")[2]
        for pair in body.decode("latin-1").split("&"):
            if pair.startswith("Action="):
                return pair[7:]
        return environ["PATH_INFO"].rpartition("/")[2]

    @staticmethod
    def reply(start_response, status, code):
        body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": f"test: {code}"}).encode()
        start_response(f"{status} .", [("Content-Type", "application/x-amz-json-1.0"), ("Content-Length", str(len(body)))])
        return [body]

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action = self.action_of(environ, body)
        agents = environ.get("HTTP_USER_AGENT", "").startswith("sonde/")
        service = ""
        if environ.get("HTTP_AUTHORIZATION") or action != "AssumeRoleWithWebIdentity":
            try:
                service = verify(environ, body, self.keys)
            except (Refused, KeyError, ValueError) as error:
                with self.lock:
                    self.refused.append(f"{action}: {error}")
                return self.reply(start_response, 403, str(error).partition(":")[0])
        if agents:
            with self.lock:
                self.requests.append((service, action))
            answer = self.answer(action, body) if self.answer else None
            if answer:
                return self.reply(start_response, *answer)
            if action == "ListQueues" and self.page:
                body = json.dumps(json.loads(body) | {"MaxResults": self.page}).encode()
                environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return self.app(environ, start_response)


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


@contextlib.contextmanager
def serving(app, port, context=None):
    """On a port; context: TLS."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=Handler, ssl_context=context)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Cloud(Gate):
    """On a port, which stop() and start() take it from and give it back; queues stay."""

    def __init__(self):
        super().__init__()
        self.port, self.stack = 0, contextlib.ExitStack()

    def start(self):
        self.port = self.stack.enter_context(serving(self, self.port))
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def stop(self):
        self.stack.close()


@contextlib.contextmanager
def cloud():
    gate = Cloud()
    gate.start()
    try:
        yield gate
    finally:
        gate.stop()


class Issuer:
    """Where keys come from, strictly as documented: a container's endpoint, an instance's metadata (version 2 only), and STS
    for web identities. Each gives keys that end soon; `cloud` takes the last ones only."""

    def __init__(self, gate, seconds):
        self.gate, self.seconds, self.given, self.seen = gate, seconds, 0, []

    def keys(self):
        self.given += 1
        key, token = f"ASIA{self.given:016}", f"{TOKEN}{self.given}"
        self.gate.keys = {key: (SECRET, token)}
        end = datetime.fromtimestamp(time.time() + self.seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"AccessKeyId": key, "SecretAccessKey": SECRET, "Token": token, "Expiration": end}

    def answer(self, method, path, headers, body):
        """(status, text) of a request."""
        self.seen.append(f"{method} {path}")
        base = "/latest/meta-data/iam/security-credentials/"
        if (method, path) == ("GET", "/container") and headers.get("authorization") == "Bearer of-the-pod":
            return 200, json.dumps(self.keys())
        if (method, path) == ("PUT", "/latest/api/token"):
            return (200, "imds-token==") if headers.get("x-aws-ec2-metadata-token-ttl-seconds") == "21600" else (400, "")
        if method == "GET" and path.startswith("/latest/") and headers.get("x-aws-ec2-metadata-token") != "imds-token==":
            return 401, ""
        if (method, path) == ("GET", base):
            return 200, "sonde-role\n"
        if (method, path) == ("GET", base + "sonde-role"):
            return 200, json.dumps(self.keys() | {"Code": "Success", "Type": "AWS-HMAC"})
        wanted = {"Action": ["AssumeRoleWithWebIdentity"], "Version": ["2011-06-15"], "RoleSessionName": ["sonde"],
                  "RoleArn": ["arn:aws:iam::123456789012:role/a b"], "WebIdentityToken": ["eyJ.a+b/c="]}
        if (method, path) == ("POST", "/") and urllib.parse.parse_qs(body.decode(), strict_parsing=True) == wanted:
            keys = self.keys()
            keys["SessionToken"] = keys.pop("Token")
            inside = "".join(f"<{k}>{v}</{k}>" for k, v in keys.items())
            return 200, (f'<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
                         f"<AssumeRoleWithWebIdentityResult><Credentials>{inside}</Credentials>"
                         f"</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>")
        return 404, ""

    def __call__(self, environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        status, text = self.answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], headers_of(environ), body)
        start_response(f"{status} .", [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))])
        return [text.encode()]


@contextlib.contextmanager
def issuer(gate, seconds):
    place = Issuer(gate, seconds)
    with serving(place, 0) as port:
        place.endpoint = f"http://127.0.0.1:{port}"
        yield place
