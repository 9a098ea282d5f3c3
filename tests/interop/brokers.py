# SPDX-License-Identifier: Apache-2.0
"""Real brokers for tests: each a context manager that starts one on 127.0.0.1, waits until it answers in its protocol, and
stops it. Ports are free ones, files are in a temporary directory, and a test that is killed takes its brokers with it.

    with brokers.kafka() as kafka:
        run(kafka.address)                 # 127.0.0.1:PORT

`Missing` says what is not installed; a test then skips (status 77). By hand, until end of input:

    python brokers.py kafka|rabbitmq|mqtt|nats|redis|elasticmq
"""
import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
KAFKA_JARS = pathlib.Path(os.environ.get("SONDE_KAFKA_JARS", ROOT / ".cache" / "kafka"))
RABBITMQ_SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"  # what the one in the PATH runs, as whoever calls it
ELASTICMQ_JARS = pathlib.Path(os.environ.get("SONDE_ELASTICMQ_JARS", ROOT / ".cache" / "elasticmq"))
START_SECONDS = 200  # RabbitMQ takes 5 s of processor time: a busy machine makes a minute of that
STOP_SECONDS = 30
PR_SET_PDEATHSIG = 1
prctl = ctypes.CDLL(None, use_errno=True).prctl


class Missing(Exception):
    """The broker is not installed; the text says what."""


class Failed(Exception):
    """The broker did not start; the text is what it said."""


class Server:
    """Where a broker is. ports: by name, `main` is the one of clients. processes: to look at or to disturb."""

    def __init__(self, directory, *names):
        self.directory = pathlib.Path(directory)
        self.ports = free_ports(*names)
        self.processes = []
        self.seconds = 0.0  # how long it took until it answered

    @property
    def port(self):
        return self.ports["main"]

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.processes[-1].pid

    def run(self, command, env=None, log="log"):
        """Starts one process. It ends with this one, however this one ends."""
        with open(self.directory / log, "ab") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                                       cwd=self.directory, preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self.processes.append(process)
        return process

    def wait(self, answers, port=None):
        """Until answers(socket) is true at the port; Failed when a process ends before, or in the end."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port or self.port), 5) as client:
                client.settimeout(10)
                if answers(client) and all(p.poll() is None for p in self.processes):
                    return
            if any(p.poll() is not None for p in self.processes) or time.monotonic() > deadline:
                raise Failed(self.said())
            time.sleep(0.05)

    def said(self):
        texts = [p.read_text(errors="replace")[-4000:] for p in sorted(self.directory.glob("*log"))]
        return "the broker did not start:\n" + "\n".join(texts)

    def stop(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)  # a test may have stopped it
                process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def find(name):
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not found:
        raise Missing(f"{name} is not installed")
    return found


def free_ports(*names):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return {name: s.getsockname()[1] for name, s in zip(names, sockets)}


@contextlib.contextmanager
def started(start, *names):
    """start(server) runs what it needs and waits. A free port may be taken by another before the broker has it: then again.
    Use it in the main thread: SIGTERM, by which meson ends a test that takes too long, cleans up as well."""
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for attempt in range(3):
        with tempfile.TemporaryDirectory(prefix="sonde-", ignore_cleanup_errors=True) as directory:
            server, begin = Server(directory, *names), time.monotonic()
            try:
                try:
                    start(server)
                except Failed:
                    if attempt == 2:
                        raise
                    continue
                server.seconds = time.monotonic() - begin
                yield server
                return
            finally:
                server.stop()


def asks(request, reply):
    """Sends request; true when the answer begins with reply."""
    def answers(client):
        client.sendall(request)
        got = b""
        while len(got) < len(reply):
            more = client.recv(len(reply) - len(got))
            if not more:
                return False
            got += more
        return got == reply
    return answers


def redis():
    def start(server):
        server.run([find("redis-server"), "--bind", "127.0.0.1", "--port", str(server.port), "--save", "", "--appendonly",
                    "no", "--dir", str(server.directory)])
        server.wait(asks(b"PING\r\n", b"+PONG"))
    return started(start, "main")


def nats(jetstream=False):
    """Port `monitor` is the HTTP one (/varz, /jsz)."""
    def start(server):
        command = [find("nats-server"), "-a", "127.0.0.1", "-p", str(server.port), "-m", str(server.ports["monitor"])]
        server.run(command + (["-js", "-sd", str(server.directory)] if jetstream else []))
        server.wait(asks(b"", b"INFO {"))
    return started(start, "main", "monitor")


def mqtt():
    """Mosquitto, versions 3.1.1 and 5."""
    def start(server):
        config = server.directory / "mosquitto.conf"
        config.write_text(f"listener {server.port} 127.0.0.1\nallow_anonymous true\npersistence false\nsys_interval 1\n")
        server.run([find("mosquitto"), "-c", str(config)])
        connect = b"\x10\x10\x00\x04MQTT\x04\x02\x00\x0a\x00\x04test"
        server.wait(asks(connect, b"\x20\x02\x00\x00"))
    return started(start, "main")


def rabbitmq(plugins=("rabbitmq_amqp1_0",), config="", arguments=""):
    """One node of its own: cookie, name service (epmd) and files are private. Speaks AMQP 0-9-1 and, by the plugin, 1.0 at one
    port. Ports: `management` is the HTTP API's, of plugin rabbitmq_management, and `prometheus` of rabbitmq_prometheus; `stream`
    is free, for rabbitmq_stream. config: more of rabbitmq.conf, with ports by name in braces. arguments: of
    Erlang."""
    def start(server):
        if not os.access(RABBITMQ_SERVER, os.X_OK):
            raise Missing("rabbitmq-server is not installed")
        ports, home = server.ports, server.directory
        (home / "plugins").write_text(f"[{','.join(plugins)}].\n")
        (home / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{ports['main']}\n"
            f"distribution.listener.interface = 127.0.0.1\n"
            + (f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {ports['management']}\n"
               if "rabbitmq_management" in plugins else "")
            + (f"prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {ports['prometheus']}\n"
               if "rabbitmq_prometheus" in plugins else "") + config.format(**ports))
        env = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        env |= {"HOME": str(home), "RABBITMQ_HOME": str(home), "RABBITMQ_NODENAME": "sonde@localhost", "LC_ALL": "C.UTF-8",
                "RABBITMQ_CONF_ENV_FILE": os.devnull, "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
                "RABBITMQ_MNESIA_BASE": str(home / "mnesia"), "RABBITMQ_LOG_BASE": str(home), "RABBITMQ_LOGS": "-",
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"), "RABBITMQ_DIST_PORT": str(ports["dist"]),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none " + arguments,
                "ERL_EPMD_PORT": str(ports["epmd"]), "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RUNNING_UNDER_SYSTEMD": "true"}  # its script then becomes the server: no shell stays between
        server.run([find("epmd"), "-address", "127.0.0.1", "-port", str(ports["epmd"])], env, "epmd.log")
        server.wait(lambda client: True, ports["epmd"])
        server.run([RABBITMQ_SERVER], env)
        hello = b"AMQP\x03\x01\x00\x00" if "rabbitmq_amqp1_0" in plugins else b"AMQP\x00\x00\x09\x01"
        server.wait(asks(hello, hello if hello[4] == 3 else b"\x01\x00\x00"))
        server.env = env  # for rabbitmqctl
    return started(start, "main", "dist", "epmd", "management", "prometheus", "stream")


KAFKA_PROPERTIES = """process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller},SASL_PLAINTEXT://127.0.0.1:{sasl}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
  user_sonde="right";
log.dirs={data}
num.partitions=1
default.replication.factor={copies}
offsets.topic.replication.factor={copies}
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=1
num.io.threads=2
background.threads=1
log.cleaner.enable=false
controlled.shutdown.enable=false
"""


def java(heap_mb, jars=KAFKA_JARS):
    # One compiler and one collector thread: a broker of tests lives for seconds.
    return [find("java"), f"-Xmx{heap_mb}m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*"]


def kafka(nodes=1, more=""):
    """Nodes that are broker and controller (KRaft). Port `main` is the first node's, `node2`... the others'; topics are
    made when they are named first. Ports `sasl1`... want user sonde, password right. more: lines of properties."""
    names = ["main"] + [f"node{i}" for i in range(2, nodes + 1)]
    controllers = [f"controller{i}" for i in range(1, nodes + 1)]
    sasl = [f"sasl{i}" for i in range(1, nodes + 1)]

    def start(server):
        if not list(KAFKA_JARS.glob("kafka_2.13-*.jar")):
            raise Missing(f"Kafka's jars are not in {KAFKA_JARS} (script/test fetches them)")
        voters = ",".join(f"{i + 1}@127.0.0.1:{server.ports[c]}" for i, c in enumerate(controllers))
        formats = []
        for i, name in enumerate(names):
            (server.directory / f"{name}.properties").write_text(KAFKA_PROPERTIES.format(
                node=i + 1, voters=voters, port=server.ports[name], controller=server.ports[controllers[i]],
                sasl=server.ports[sasl[i]], data=server.directory / f"{name}.data", copies=min(nodes, 3)) + more)
            formats.append(server.run(java(128) + ["kafka.tools.StorageTool", "format", "-t", "c29uZGVzb25kZXNvbmRlcw",
                                                   "-c", f"{name}.properties"]))
        for process in formats:
            if process.wait(START_SECONDS) != 0:
                raise Failed(server.said())
        server.processes.clear()
        for name in names:
            server.run(java(256) + ["kafka.Kafka", f"{name}.properties"], log=f"{name}.log")
        api_versions = struct.pack(">ihhih", 10, 18, 0, 77, -1)
        for name in names:
            server.wait(lambda c: asks(api_versions, b"")(c) and c.recv(8)[4:] == struct.pack(">i", 77), server.ports[name])
    return started(start, *names, *controllers, *sasl)


ELASTICMQ_CONF = """include classpath("application.conf")
node-address {{ protocol = http, host = "127.0.0.1", port = {port}, context-path = "" }}
rest-sqs {{ enabled = true, bind-port = {port}, bind-hostname = "127.0.0.1", sqs-limits = strict }}
rest-stats {{ enabled = false }}
"""


def elasticmq():
    """Speaks SQS, and takes any key."""
    def start(server):
        if not list(ELASTICMQ_JARS.glob("elasticmq-server_*.jar")):
            raise Missing(f"ElasticMQ's jars are not in {ELASTICMQ_JARS} (script/test --all fetches them)")
        (server.directory / "elasticmq.conf").write_text(ELASTICMQ_CONF.format(port=server.port))
        command = java(200, ELASTICMQ_JARS)
        server.run([command[0], "-Dconfig.file=elasticmq.conf", *command[1:], "org.elasticmq.server.Main"])
        server.wait(asks(b"GET / HTTP/1.0\r\n\r\n", b"HTTP/1."))
    return started(start, "main")


ALL = {"kafka": kafka, "rabbitmq": rabbitmq, "mqtt": mqtt, "nats": nats, "redis": redis, "elasticmq": elasticmq}


if __name__ == "__main__":
    with ALL[sys.argv[1]]() as running:
        print(f"{sys.argv[1]} at {running.address} after {running.seconds:.1f} s", flush=True)
        sys.stdin.read()
