# SPDX-License-Identifier: Apache-2.0
"""The transports of peer.py: each function is one half of a hop. Client libraries are imported where they are used, so
that one which is not installed costs only its own transport."""
import asyncio
import sys
import time

BODY = b"hello"
GRPC_BODY = b"\x0a\x05hello"
DEBIAN_MODULES = "/usr/lib/python3/dist-packages"  # Qpid Proton is packaged there, and has no wheel
SECONDS = 20


def http_call(peer, host, port, path):
    import requests
    from opentelemetry.instrumentation.requests import RequestsInstrumentor
    RequestsInstrumentor().instrument()

    def send(_):
        answer = requests.post(f"http://{host}:{port}{path}", data=BODY, timeout=SECONDS)
        assert (answer.status_code, answer.content) == (200, BODY), (answer.status_code, answer.content)
    peer.act(send)


def http_serve(peer, host, port, path):
    import flask
    import werkzeug.serving
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    app = flask.Flask("peer")
    FlaskInstrumentor().instrument_app(app)

    @app.post(path)
    def handle():
        peer.took()
        return flask.request.get_data()

    server = werkzeug.serving.make_server(host, port, app)
    peer.ready(server.server_port)
    while not peer.answer:
        server.handle_request()
    server.server_close()


def grpc_call(peer, host, port, method):
    import grpc
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
    GrpcInstrumentorClient().instrument()

    def send(_):
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            answer = channel.unary_unary("/" + method, request_serializer=None, response_deserializer=None)(
                GRPC_BODY, timeout=SECONDS, wait_for_ready=True)
            assert answer == GRPC_BODY, answer
    peer.act(send)


def grpc_serve(peer, host, port, method):
    import concurrent.futures
    import threading

    import grpc
    from opentelemetry.instrumentation.grpc import GrpcInstrumentorServer
    GrpcInstrumentorServer().instrument()
    service, _, name = method.rpartition("/")
    served = threading.Event()

    def handle(request, _):
        peer.took()
        served.set()
        return request

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
        service, {name: grpc.unary_unary_rpc_method_handler(handle)}),))
    port = server.add_insecure_port(f"{host}:{port}")
    server.start()
    peer.ready(port)
    served.wait(peer.arguments.timeout)
    server.stop(SECONDS).wait()


def kafka_send(peer, host, port, topic):
    import kafka
    from opentelemetry.instrumentation.kafka import KafkaInstrumentor
    KafkaInstrumentor().instrument()
    producer = kafka.KafkaProducer(bootstrap_servers=f"{host}:{port}")
    peer.act(lambda _: producer.send(topic, BODY).get(SECONDS))
    producer.close()


def kafka_receive(peer, host, port, topic):
    import uuid

    import kafka
    from opentelemetry.instrumentation.kafka import KafkaInstrumentor
    KafkaInstrumentor().instrument(consume_hook=lambda span, *_: peer.took(span))
    consumer = kafka.KafkaConsumer(topic, bootstrap_servers=f"{host}:{port}", group_id=uuid.uuid4().hex,
                                   auto_offset_reset="earliest", metadata_max_age_ms=1000)
    peer.ready()  # from the earliest offset: whatever is sent from now on will be read
    for message in consumer:
        assert message.value == BODY
        break
    consumer.close()


def _pika_channel(host, port, queue):
    import pika
    from opentelemetry.instrumentation.pika import PikaInstrumentor
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    channel = connection.channel()
    PikaInstrumentor.instrument_channel(channel)  # instrument() would wrap it twice, and make two spans a message
    channel.queue_declare(queue)
    return connection, channel


def rabbitmq_send(peer, host, port, queue):
    connection, channel = _pika_channel(host, port, queue)
    peer.act(lambda _: channel.basic_publish("", queue, BODY))
    connection.close()


def rabbitmq_receive(peer, host, port, queue):
    connection, channel = _pika_channel(host, port, queue)

    def on_message(_, method, __, body):
        assert body == BODY
        peer.took()
        channel.basic_ack(method.delivery_tag)
        channel.stop_consuming()

    channel.basic_consume(queue, on_message)
    peer.ready()
    channel.start_consuming()
    connection.close()


def _mqtt_client(host, port):
    import paho.mqtt.client as mqtt
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(host, port)
    return client


def mqtt_send(peer, host, port, topic):
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    client = _mqtt_client(host, port)
    client.loop_start()

    def send(_):
        properties = Properties(PacketTypes.PUBLISH)
        properties.UserProperty = list(peer.injected().items())
        client.publish(topic, BODY, qos=1, properties=properties).wait_for_publish(SECONDS)
    peer.act(send)
    client.disconnect()
    client.loop_stop()


def mqtt_receive(peer, host, port, topic):
    client = _mqtt_client(host, port)

    def on_message(_, __, message):
        assert message.payload == BODY
        peer.extracted(dict(message.properties.UserProperty))
        client.disconnect()

    client.on_message = on_message
    client.on_subscribe = lambda *_: peer.ready()
    client.subscribe(topic, qos=1)
    client.loop_forever()


def nats_send(peer, host, port, subject):
    import nats

    async def main(headers):
        connection = await nats.connect(f"nats://{host}:{port}")
        await connection.publish(subject, BODY, headers=headers)
        await connection.drain()
    peer.act(lambda _: asyncio.run(main(peer.injected())))


def nats_receive(peer, host, port, subject):
    import nats

    async def main():
        connection = await nats.connect(f"nats://{host}:{port}")
        subscription = await connection.subscribe(subject)
        await connection.flush()
        peer.ready()
        message = await subscription.next_msg(peer.arguments.timeout)
        assert message.data == BODY
        peer.extracted(message.headers or {})
        await connection.drain()
    asyncio.run(main())


def _proton():
    sys.path.append(DEBIAN_MODULES)
    import proton
    import proton.utils
    return proton


def amqp1_send(peer, host, port, address):
    proton = _proton()
    connection = proton.utils.BlockingConnection(f"amqp://guest:guest@{host}:{port}", allowed_mechs="PLAIN",
                                                 timeout=SECONDS)
    sender = connection.create_sender(address)
    peer.act(lambda _: sender.send(proton.Message(body=BODY.decode(), properties=peer.injected())))
    connection.close()


def amqp1_receive(peer, host, port, address):
    proton = _proton()
    connection = proton.utils.BlockingConnection(f"amqp://guest:guest@{host}:{port}", allowed_mechs="PLAIN",
                                                 timeout=SECONDS)
    receiver = connection.create_receiver(address)
    peer.ready()
    message = receiver.receive(timeout=peer.arguments.timeout)
    body = message.body if isinstance(message.body, str) else bytes(message.body).decode()
    assert body == BODY.decode(), body
    peer.extracted({name: value for name, value in (message.properties or {}).items() if isinstance(value, str)})
    receiver.accept()
    connection.close()


def redis_send(peer, host, port, stream):
    import redis
    client = redis.Redis(host, port)
    peer.act(lambda _: client.xadd(stream, {"body": BODY} | peer.injected()))
    client.close()


def redis_receive(peer, host, port, stream):
    import redis
    client = redis.Redis(host, port, decode_responses=True)
    peer.ready()
    deadline = time.monotonic() + peer.arguments.timeout
    while not peer.answer and time.monotonic() < deadline:
        for _, entries in client.xread({stream: "0"}, count=1, block=1000) or ():
            fields = entries[0][1]
            assert fields["body"] == BODY.decode()
            peer.extracted(fields)
    client.close()


ROLES = {"call", "serve", "send", "receive"}
ALL = {(role, transport): function for name, function in list(globals().items())
       for transport, _, role in [name.rpartition("_")] if role in ROLES and not name.startswith("_")}
