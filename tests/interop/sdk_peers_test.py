# SPDX-License-Identifier: Apache-2.0
"""Contexts between a Sonde program and programs on OpenTelemetry's SDKs, both ways, through real clients and brokers:

    python sdk_peers_test.py python|js|java TRANSPORT[+TRANSPORT...] PATH-OF-sonde_peer [--formats NAMES]

Transports that are joined share a broker. Each hop is made twice, once from each side; what both ends tell (peers/README.md) must fit: one trace id from the remote
parent through both programs, the right parents, flags, tracestate, baggage, and for messages the link of a trace of its own."""
import argparse
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import selectors
import shutil
import subprocess
import sys
import time

import brokers

HERE = pathlib.Path(__file__).resolve().parent
NODE_MODULES = HERE.parents[1] / ".cache" / "peers-js" / "node_modules"
JAVA = os.environ.get("SONDE_PEER_JAVA", str(HERE.parents[1] / ".cache" / "peers-java"))
PEERS = {"python": [sys.executable, str(HERE / "peers/python/peer.py")],
         "js": ["node", str(HERE / "peers/js/peer.js")],
         "java": ["java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", f"{JAVA}/*", "Peer"]}
CALLS = {"http": "/orders", "grpc": "sonde.interop.Peer/Greet"}
MESSAGES = {"kafka": "kafka", "rabbitmq": "rabbitmq", "amqp1": "rabbitmq", "mqtt": "mqtt", "nats": "nats", "redis": "redis"}
SECONDS = 60
TRACE, REMOTE, STATE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
BAGGAGE = {"user.id": "Zoë,東京;a=\"b\"", "tier": "gold", "note": "1+1 is 2"}
# What formats other than the default carry: no tracestate; in Jaeger's, baggage in headers of its own.
FORMATS = {"tracecontext,baggage": (STATE, BAGGAGE), "b3": ("", {}), "b3multi": ("", {}), "jaeger": ("", {"tier": "gold"})}


class Unable(Exception):
    """A peer cannot speak the transport (status 77); the text says why."""


def require_installed(language):
    """Raises Unable, with what is missing."""
    if language == "python" and not importlib.util.find_spec("opentelemetry.sdk"):
        raise Unable("the OpenTelemetry SDK for Python is not installed (script/test makes .venv)")
    if language == "js" and not (shutil.which("node") and NODE_MODULES.is_dir()):
        raise Unable(f"Node.js or {NODE_MODULES} is missing (script/test installs it)")
    if language == "java" and not (shutil.which("java") and os.path.exists(f"{JAVA}/peer.jar")):
        raise Unable(f"Java or {JAVA}/peer.jar is missing (script/test --all makes it)")


class Running:
    """A peer that runs."""

    def __init__(self, name, command, formats):
        self.name = name
        env = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_") and not k.lower().endswith("_proxy")}
        # No agent takes the Sonde program's memory: it reads its spans itself.
        env |= {"OTEL_PROPAGATORS": formats, "PYTHONDONTWRITEBYTECODE": "1", "NODE_PATH": str(NODE_MODULES),
                "LC_ALL": "C.UTF-8", "SONDE_AGENT_SOCKET": "/nonexistent/agent"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env)

    def line(self):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            assert selector.select(SECONDS), f"{self.name} says nothing"
        line = self.process.stdout.readline().decode()
        if not line and self.process.wait(SECONDS) == 77:
            raise Unable(f"{self.name} cannot speak it")
        assert line, f"{self.name} ended with status {self.process.wait(SECONDS)}"
        return line.strip()

    def told(self):
        line = json.loads(self.line())
        status = self.process.wait(SECONDS)
        assert status == 0, f"{self.name} ended with status {status}"
        return line

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def hop(arguments, transport, acting, handling, address, destination, sampled):
    """One hop from acting to handling, each a (name, command); returns what they told."""
    call = transport in CALLS
    state, baggage = FORMATS[arguments.formats]
    options = [f"--timeout={SECONDS}"]
    given = [f"--parent=00-{TRACE}-{REMOTE}-0{int(sampled)}", f"--tracestate={STATE}"]
    given += [f"--baggage={key}={value}" for key, value in BAGGAGE.items() if key in baggage or not baggage]
    with contextlib.ExitStack() as stack:
        def run(name, command, role, where, more=()):
            started = Running(name, [*command, role, transport, where, destination, *options, *more],
                              arguments.formats)
            stack.callback(started.stop)
            return started
        handler = run(*handling, "serve" if call else "receive", address)
        ready = handler.line().split()
        assert ready[0] == "ready", ready
        actor = run(*acting, "call" if call else "send", f"127.0.0.1:{ready[1]}" if call else address, given)
        return actor.told(), handler.told()


def same(what, one, two):
    assert one == two, f"{what}: {one!r}, expected {two!r}"


def stamped(tracestate):
    """Sonde stamps the messages that it sends; the rest of their tracestate is as it was."""
    member, _, rest = tracestate.partition(",")
    assert re.fullmatch("sonde=s:[0-9a-f]+", member), tracestate
    return rest


def check_context(what, got, want, keys=("trace_id", "span_id", "flags", "tracestate")):
    for key in keys:
        same(f"{what} {key}", got[key], want[key])


def expected_baggage(arguments, sonde_acts):
    """In W3C baggage a plus is a plus. The SDK for Python codes and decodes as forms do: its spaces come as pluses, and it takes
    pluses for spaces."""
    baggage = FORMATS[arguments.formats][1]
    if arguments.language != "python":
        return baggage
    return {key: value.replace("+", " ") if sonde_acts else value.replace(" ", "+") for key, value in baggage.items()}


def check(arguments, actor, handler, sonde_acts):
    """actor: root and sent, handler: seen and spans, as told."""
    state = FORMATS[arguments.formats][0]
    message = "link" in handler["spans"]
    root, sent, seen, parent = actor["root"], actor["sent"], handler["seen"], handler["spans"]["parent"]
    for name, span in (("root", root), ("sent", sent), ("seen", seen), ("parent", parent)):
        same(f"{name}: trace id", span["trace_id"], TRACE)
        same(f"{name}: sampled", span["flags"] & 1, 1)
    same("root: parent", root["parent_span_id"], REMOTE)
    same("root: tracestate", root["tracestate"], STATE)
    if sent["span_id"] != root["span_id"]:
        same("sent: parent", sent["parent_span_id"], root["span_id"])
        assert sent["kind"] in ("client", "producer"), sent
    if sonde_acts:
        same("sent: kind", sent["kind"], "producer" if message else "client")
    check_context("seen", seen, sent if state else sent | {"tracestate": "", "flags": seen["flags"]})
    same("parent: parent", parent["parent_span_id"], sent["span_id"])
    same("baggage", handler["baggage"], expected_baggage(arguments, sonde_acts))
    came = seen["tracestate"]
    if state and message and sonde_acts:
        came = stamped(came)
    same("tracestate", came, state)
    if sonde_acts:
        same("parent: tracestate", parent["tracestate"], seen["tracestate"])
    else:  # the stamp, if there was one, went no further; here there was none
        same("parent: tracestate", parent["tracestate"], state)
        same("parent: kind", parent["kind"], "consumer" if message else "server")
        same("parent: links", parent["links"], [])
    if message:
        link = handler["spans"]["link"]
        assert link["trace_id"] != TRACE, "a trace of its own"
        same("link: parent", link["parent_span_id"], "")
        same("link: tracestate", link["tracestate"], "")
        same("link: count", len(link["links"]), 1)
        check_context("link", link["links"][0], seen)


def check_unsampled(arguments, actor, handler, sonde_acts):
    """Nobody records, and each tells the next."""
    for span in (actor["root"], actor["sent"], handler["spans"]["parent"]):
        same("unsampled: trace id", span["trace_id"], TRACE)
        same("unsampled: flag", span["flags"] & 1, 0)
    same("unsampled: baggage", handler["baggage"], expected_baggage(arguments, sonde_acts))


def run_pair(arguments, transport, acting, handling, address):
    destination = CALLS.get(transport, f"peers.{transport}.{acting[0]}.{handling[0]}")
    if transport == "amqp1":
        destination = "/queue/" + destination
    cases = [(True, check)] + ([(False, check_unsampled)] if transport in CALLS else [])
    for sampled, check_told in cases:
        began = time.monotonic()
        actor, handler = hop(arguments, transport, acting, handling, address, destination, sampled)
        try:
            check_told(arguments, actor, handler, acting[0] == "sonde")
        except AssertionError:
            print(f"from {acting[0]} to {handling[0]}:", json.dumps(actor), json.dumps(handler), sep="\n", file=sys.stderr)
            raise
        print(f"{acting[0]} -> {handling[0]} by {transport} ({arguments.formats}{'' if sampled else ', not sampled'}): "
              f"{time.monotonic() - began:.1f} s")


def run(arguments, transports, address):
    sonde, other = ("sonde", [arguments.sonde_peer]), (arguments.language, PEERS[arguments.language])
    for transport in transports:
        run_pair(arguments, transport, sonde, other, address)
        run_pair(arguments, transport, other, sonde, address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("language", choices=PEERS)
    parser.add_argument("transports")
    parser.add_argument("sonde_peer")
    parser.add_argument("--formats", choices=FORMATS, default="tracecontext,baggage")
    arguments = parser.parse_args()
    transports = arguments.transports.split("+")
    try:
        require_installed(arguments.language)
        if transports[0] in CALLS:
            run(arguments, transports, "127.0.0.1:0")
        else:
            with brokers.ALL[MESSAGES[transports[0]]]() as broker:
                print(f"{MESSAGES[transports[0]]} answers after {broker.seconds:.1f} s")
                run(arguments, transports, broker.address)
    except (Unable, brokers.Missing) as missing:
        print(f"skipped: {missing}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
