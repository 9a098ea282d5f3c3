# SPDX-License-Identifier: Apache-2.0
"""The SQS and SNS collectors against moto behind a gate that checks every signature (tests/interop/aws.py).
Usage: collect_aws_test.py BUILD queues|troubles|credentials|cloudwatch|elasticmq. What is true is what this test sent, received and
deleted by boto3. Exit 77 (skipped) when there is no moto."""
import contextlib
import json
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "interop"))
for name in [n for n in os.environ if n.startswith("AWS_")]:
    del os.environ[name]  # of whoever runs this
os.environ |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nonexistent"}
try:
    import aws
except ImportError as error:
    print(f"skipped: {error}; script/test makes the venv")
    sys.exit(77)
import brokers  # noqa: E402
import rig  # noqa: E402
from collect_rig import check_refused, liar, watching  # noqa: E402

KEYS = f"region: {aws.REGION}, access_key_id: {aws.KEY}, secret_access_key: '{aws.SECRET}'"


def collector(endpoint, more="", keys=KEYS, kind="sqs", interval="interval: 200ms, "):
    return f"  {kind}: {{endpoint: '{endpoint}', {interval}{keys}, timeout: 5s, {more}}}\n"


def of(queue, **more):
    return {"messaging_destination_name": queue, "messaging_system": "aws_sqs"} | more


@contextlib.contextmanager
def environment(**variables):
    """Of agents that are started within."""
    before = dict(rig.QUIET)
    rig.QUIET.update(variables)
    try:
        yield
    finally:
        rig.QUIET.clear()
        rig.QUIET.update(before)


def queue_make(sqs, name, dead=None, **attributes):
    """Its URL and ARN."""
    if dead:
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": dead, "maxReceiveCount": "1"})
    url = sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "3600"} | attributes)["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def send(sqs, url, count, **more):
    for i in range(count):
        sqs.send_message(QueueUrl=url, MessageBody=str(i), **more)


def receive(sqs, url, count):
    return sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count)["Messages"]


def poison(sqs, url, count):
    """Given to a consumer that fails, once: then they go to the dead letters."""
    send(sqs, url, count)
    for message in receive(sqs, url, count):
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count)


def lag_is_sent_minus_received(cloud, sqs, watch, url):
    send(sqs, url, 9)
    watch.until_value(9, "queue_message", **of("orders", state="ready"))
    taken = receive(sqs, url, 5)
    watch.until_value(4, "consumer_lag", **of("orders"))
    watch.until_value(5, "queue_message", **of("orders", state="unacked"))
    for message in taken[:3]:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    watch.until_value(2, "queue_message", **of("orders", state="unacked"))
    send(sqs, url, 2, DelaySeconds=900)
    watch.until_value(2, "queue_message", **of("orders", state="scheduled"))
    assert watch.value("queue_message", **of("orders", state="ready")) == 4
    identity = of("orders", server_address="127.0.0.1", server_port=str(cloud.port), cloud_region=aws.REGION,
                  cloud_account_id="123456789012")
    assert watch.value("consumer_lag", **identity) == 4, watch.series()
    watch.until(lambda: watch.exported("consumer.lag", messaging_destination_name="orders")[-1:] == [4], "lag leaves by OTLP")
    watch.until(lambda: watch.exported("queue.message", messaging_destination_name="orders", state="scheduled") == [2], "OTLP")


def queues():
    with aws.cloud() as cloud:
        sqs = cloud.client("sqs")
        url, _ = queue_make(sqs, "orders")
        dead_url, dead = queue_make(sqs, "bills-dead")
        bills, _ = queue_make(sqs, "bills", dead)
        _, shared = queue_make(sqs, "shared-dead")
        one, _ = queue_make(sqs, "one", shared)
        two, _ = queue_make(sqs, "two", shared)
        fifo, _ = queue_make(sqs, "steps.fifo", FifoQueue="true", ContentBasedDeduplication="true")
        queue_make(sqs, "private")
        for i in range(4):
            queue_make(sqs, f"many-{i}")
        cloud.page = 3
        more = "include: ['(orders|bills|one|two|many-.|private|steps[.]fifo)(-dead)?'], exclude: [private], in_flight_max: 3"
        with watching(collector(cloud.endpoint, more)) as watch:
            lag_is_sent_minus_received(cloud, sqs, watch, url)
            poison(sqs, bills, 3)
            watch.until_value(3, "queue_message", **of("bills", state="dead_lettered"))
            assert not watch.values("queue_message", **of("bills-dead"))  # its messages are told already
            poison(sqs, one, 2)
            poison(sqs, two, 1)
            watch.until_value(3, "queue_message", **of("shared-dead", state="dead_lettered"))
            assert not watch.values("queue_message", **of("one", state="dead_lettered"))
            sqs.purge_queue(QueueUrl=dead_url)
            watch.until_value(0, "queue_message", **of("bills", state="dead_lettered"))
            send(sqs, fifo, 4, MessageGroupId="g")
            watch.until_value(4, "queue_message", **of("steps.fifo", state="ready"))
            assert all(watch.value("queue_message", **of(f"many-{i}", state="ready")) == 0 for i in range(4))
            assert not watch.values("queue_message", **of("private"))
            assert not watch.values("queue_oldest_message_age_seconds")  # CloudWatch was not asked: unknown is absent
            sqs.delete_queue(QueueUrl=fifo)
            watch.until(lambda: not watch.values("consumer_lag", **of("steps.fifo")), "a queue is gone, its series too")
            assert watch.value("poll_up") == 1 and watch.value("poll_truncated") == 0
        assert cloud.refused == [], cloud.refused
        assert cloud.seen("GetMetricData") == 0
        limits_and_names(cloud, sqs)


def limits_and_names(cloud, sqs):
    with watching(collector(cloud.endpoint, "prefixes: [many-, ord], queues_max: 4")) as watch:
        watch.until_value(1, "poll_truncated")
        assert len(watch.values("consumer_lag")) == 4
    lists = cloud.seen("ListQueues")
    url = sqs.get_queue_url(QueueName="many-1")["QueueUrl"]
    with watching(collector(cloud.endpoint, f"queues: [orders, '{url}', absent]")) as watch:
        watch.until_value(4, "consumer_lag", **of("orders"))
        assert watch.value("consumer_lag", **of("many-1")) == 0
        watch.until(lambda: (watch.value("poll_errors_total", error_type="not_found") or 0) > 0, "a queue that is not there")
        assert watch.value("poll_up") == 1 and not watch.values("consumer_lag", **of("absent"))
        send(sqs, sqs.create_queue(QueueName="absent")["QueueUrl"], 1)
        watch.until_value(1, "consumer_lag", **of("absent"))
    assert cloud.seen("ListQueues") == lists


def troubles():
    check_refused("sqs: {}", "sqs", "region", "eu-central-1")
    check_refused("sqs: {region: eu-west-1, access_key_id: A}", "access_key_id", "secret_access_key")
    check_refused("sqs: {region: eu-west-1, endpoint: 'ftp://x'}", "endpoint", "https://HOST:PORT")
    check_refused("sqs: {region: eu-west-1, credentials: guess}", "credentials", "web_identity")
    check_refused("sqs: {region: eu-west-1, include: ['(']}", "include")
    with aws.cloud() as cloud:
        sqs = cloud.client("sqs")
        send(sqs, queue_make(sqs, "orders")[0], 3)
        with liar() as silent, liar(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": [1]") as garbage:
            others = "".join(collector(f"http://127.0.0.1:{port}", "").replace("sqs:", f"sqs/{name}:").replace("5s", "400ms")
                             for name, port in (("silent", silent), ("garbage", garbage)))
            with watching(collector(cloud.endpoint) + others) as watch:
                watch.until_value(3, "consumer_lag", **of("orders"))
                watch.until_down("timeout", server_port=str(silent))
                watch.until_down("protocol", server_port=str(garbage))
                port = {"server_port": str(cloud.port)}
                assert watch.value("poll_up", **port) == 1  # unharmed
                refused_throttled_denied(cloud, watch, port)
                cloud.stop()
                watch.until_down("connect", **port)
                watch.until(lambda: not watch.values("consumer_lag"), "stale lags are gone")
                cloud.start()
                watch.until_value(3, "consumer_lag", **of("orders"))
        encrypted(cloud)


def encrypted(cloud):
    """The same over TLS, with a certificate that only ca_file knows."""
    with tempfile.TemporaryDirectory(prefix="sonde-") as directory:
        key, certificate = f"{directory}/key.pem", f"{directory}/cert.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
                        "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with aws.serving(cloud, 0, context) as port:
            known = collector(f"https://localhost:{port}", f"tls.ca_file: {certificate}").replace("sqs:", "sqs/known:")
            with watching(known + collector(f"https://127.0.0.1:{port}").replace("sqs:", "sqs/unknown:")) as watch:
                watch.until_value(3, "consumer_lag", server_address="localhost", **of("orders"))
                watch.until_down("protocol", server_address="127.0.0.1")


def refused_throttled_denied(cloud, watch, port):
    good, cloud.keys = cloud.keys, {aws.KEY: ("another", None)}
    watch.until_down("auth", **port)
    assert "SignatureDoesNotMatch" in watch.log() and aws.SECRET not in watch.log()
    cloud.keys = good
    watch.until_value(3, "consumer_lag", **of("orders"))
    cloud.answer = lambda action, body: (400, "RequestThrottled") if action == "GetQueueAttributes" else None
    watch.until_down("throttled", **port)
    assert watch.value("poll_throttled_total", **port) >= 1
    cloud.answer = lambda action, body: (403, "AccessDeniedException") if action == "GetQueueAttributes" else None
    watch.until_value(1, "poll_up", **port)  # the broker answers, only not of this queue
    watch.until(lambda: not watch.values("consumer_lag", **of("orders")), "unknown is absent")
    cloud.answer = None
    watch.until_value(3, "consumer_lag", **of("orders"))


def credentials():
    with aws.cloud() as cloud, tempfile.TemporaryDirectory(prefix="sonde-") as home, aws.issuer(cloud, 6) as issuer:
        sqs = cloud.client("sqs")
        send(sqs, queue_make(sqs, "orders")[0], 2)
        region = f"region: {aws.REGION}"
        folder = pathlib.Path(home, ".aws")
        folder.mkdir()
        (folder / "config").write_text(f"# of all\n[default]\nregion = xx-nowhere-1\n[profile shop]\nregion={aws.REGION}\n")
        (folder / "credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n[shop]\n"
                                            f"aws_access_key_id={aws.KEY}\naws_secret_access_key = {aws.SECRET}\n")
        pathlib.Path(home, "token").write_text("Bearer of-the-pod")
        pathlib.Path(home, "jwt").write_text("eyJ.a+b/c=\n")
        with environment(HOME=home), watching(collector(cloud.endpoint, "profile: shop", "credentials: file")) as watch:
            watch.until_value(2, "consumer_lag", **of("orders"))  # region and keys are of the profile
        places = {
            "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{issuer.endpoint}/container",
                          "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": f"{home}/token"},
            "instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": issuer.endpoint, "AWS_EC2_METADATA_DISABLED": "false"},
            "web_identity": {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/a b", "AWS_ENDPOINT_URL_STS": issuer.endpoint,
                             "AWS_WEB_IDENTITY_TOKEN_FILE": f"{home}/jwt"},
        }
        for place, variables in places.items():
            given = issuer.given
            with environment(**variables), watching(collector(cloud.endpoint, "", region)) as watch:
                watch.until(lambda: issuer.given >= given + 2, f"{place}: keys are fetched again before they end")
                watch.until_value(2, "consumer_lag", **of("orders"))
                assert not watch.values("poll_errors_total"), (place, watch.log())
        key, (secret, token) = next(iter(cloud.keys.items()))
        known = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": token, "AWS_REGION": aws.REGION,
                 "AWS_ENDPOINT_URL_SQS": cloud.endpoint}
        with environment(**known), watching("  sqs: {interval: 200ms}\n") as watch:
            watch.until_value(2, "consumer_lag", **of("orders"))
        with watching(collector(cloud.endpoint, "", region)) as watch:  # nowhere
            watch.until_down("auth")
            assert "no credentials" in watch.log()
        assert cloud.refused == [], cloud.refused


def cloudwatch():
    with aws.cloud() as cloud:
        sqs, sns, watcher = (cloud.client(s) for s in ("sqs", "sns", "cloudwatch"))
        orders = queue_make(sqs, "orders")[0]
        send(sqs, orders, 2)
        queue_make(sqs, "empty")
        for topic in ["news", "alarms", "private"] + [f"many-{i:03}" for i in range(101)]:  # two pages
            sns.create_topic(Name=topic)
        now = time.time()
        put = lambda space, dimension, name, metric, values: watcher.put_metric_data(Namespace=space, MetricData=[  # noqa: E731
            {"MetricName": metric, "Dimensions": [{"Name": dimension, "Value": name}], "Timestamp": now - ago, "Value": value}
            for ago, value in values])
        put("AWS/SQS", "QueueName", "orders", "ApproximateAgeOfOldestMessage", [(300, 11), (120, 77.5)])
        put("AWS/SQS", "QueueName", "empty", "ApproximateAgeOfOldestMessage", [(120, 5)])
        put("AWS/SNS", "TopicName", "news", "NumberOfMessagesPublished", [(500, 10), (400, 7), (4000, 99), (20, 1000)])
        put("AWS/SNS", "TopicName", "news", "NumberOfNotificationsDelivered", [(400, 15)])
        put("AWS/SNS", "TopicName", "news", "NumberOfNotificationsFailed", [(300, 2)])
        ends = f"cloudwatch_endpoint: '{cloud.endpoint}', "
        both = collector(cloud.endpoint, ends + "cloudwatch: true") \
            + collector(cloud.endpoint, ends + "exclude: [private, 'many-0.*']", kind="sns", interval="")
        with watching(both) as watch:
            watch.until_value(77.5, "queue_oldest_message_age_seconds", **of("orders"))
            news = {"messaging_destination_name": "news", "messaging_system": "aws.sns", "cloud_account_id": "123456789012"}
            watch.until_value(17, "queue_published_total", **news)  # complete minutes since shortly before the start
            assert watch.value("queue_delivered_total", **news) == 15
            assert watch.value("queue_dropped_total", kind="failed", **news) == 2
            assert watch.value("queue_published_total", messaging_destination_name="alarms") == 0
            assert watch.value("queue_published_total", messaging_destination_name="many-100") == 0
            assert cloud.seen("ListTopics") >= 2
            assert not watch.values("queue_published_total", messaging_destination_name="private")
            assert watch.value("queue_oldest_message_age_seconds", **of("empty")) == 0  # not asked: it costs
            polls = cloud.seen("ListQueues")
            watch.until(lambda: cloud.seen("ListQueues") > polls + 3, "some polls")
            assert watch.value("queue_oldest_message_age_seconds", **of("orders")) == 77.5  # told until it is old
            minutes = 1 + int((time.time() - now) / 60)
            assert 2 <= cloud.seen("GetMetricData") <= 2 * minutes, cloud.requests
            watch.until(lambda: watch.exported("queue.published", messaging_destination_name="news") == [17], "OTLP")
            sqs.purge_queue(QueueUrl=orders)  # CloudWatch tells of the past: nothing waits any more
            watch.until_value(0, "queue_oldest_message_age_seconds", **of("orders"))
        assert cloud.refused == [], cloud.refused


def elasticmq():
    """Another server than moto; it takes any signature, so this is about what it says of queues."""
    try:
        with brokers.elasticmq() as broker:
            endpoint = f"http://{broker.address}"
            sqs = aws.client("sqs", endpoint)
            _, dead = queue_make(sqs, "dead")
            url, _ = queue_make(sqs, "orders", dead)
            with watching(collector(endpoint)) as watch:
                send(sqs, url, 9)
                watch.until_value(9, "consumer_lag", **of("orders"))
                taken = receive(sqs, url, 4)
                watch.until_value(9 - len(taken), "consumer_lag", **of("orders"))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=taken[0]["ReceiptHandle"])
                watch.until_value(len(taken) - 1, "queue_message", **of("orders", state="unacked"))
                sqs.purge_queue(QueueUrl=url)
                poison(sqs, url, 3)
                watch.until_value(3, "queue_message", **of("orders", state="dead_lettered"))
                broker.processes[-1].kill()
                broker.processes[-1].wait()
                watch.until_down("connect")
    except brokers.Missing as missing:
        print(f"skipped: {missing}")
        sys.exit(77)


if __name__ == "__main__":
    {"queues": queues, "troubles": troubles, "credentials": credentials, "cloudwatch": cloudwatch,
     "elasticmq": elasticmq}[sys.argv[2]]()
