# SPDX-License-Identifier: Apache-2.0
"""The process context (OTEP 4719), read as a profiler reads it and decoded with the official Resource message.
Usage: process_context_test.py PEER"""
import os
import re
import struct
import subprocess
import sys
import time

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    from opentelemetry.proto.common.v1 import common_pb2  # noqa: F401  (its file must be in the pool)
    from opentelemetry.proto.resource.v1 import resource_pb2  # noqa: F401
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

NAMES = re.compile(r" (\[anon_shmem:OTEL_CTX\]|\[anon:OTEL_CTX\]|/memfd:OTEL_CTX)")
DEADLINE_S = 60


def process_context_class():
    """The message of the OTEP's text; no package has it yet."""
    file = descriptor_pb2.FileDescriptorProto(
        name="processcontext.proto", package="opentelemetry.proto.processcontext.v1development", syntax="proto3",
        dependency=["opentelemetry/proto/common/v1/common.proto", "opentelemetry/proto/resource/v1/resource.proto"])
    message = file.message_type.add(name="ProcessContext")
    message.field.add(name="resource", number=1, type=11, label=1, type_name=".opentelemetry.proto.resource.v1.Resource")
    message.field.add(name="attributes", number=2, type=11, label=3, type_name=".opentelemetry.proto.common.v1.KeyValue")
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(file.package + ".ProcessContext"))


def mapping_of(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        found = [int(line.split("-")[0], 16) for line in maps if NAMES.search(line)]
    assert len(found) <= 1, found
    return found[0] if found else None


def payload_of(pid):
    """The reading protocol; None while there is nothing (yet)."""
    at = mapping_of(pid)
    if at is None:
        return None
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        def read(address, size):
            memory.seek(address)
            return memory.read(size)
        signature, version, size, published, payload = struct.unpack("=8sIIQQ", read(at, 32))
        if signature != b"OTEL_CTX" or not published:
            return None
        assert version == 2, version
        body = read(payload, size)
        return body if struct.unpack("=Q", read(at + 16, 8))[0] == published else None


def main(peer):
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "SONDE_"))}
    env = dict(quiet, SONDE_AGENT_SOCKET="/nonexistent/agent.sock", OTEL_SERVICE_NAME="gr\u00fc\u00dfe",
               OTEL_RESOURCE_ATTRIBUTES="service.instance.id=4711,deployment.environment.name=test%2Cone")
    with subprocess.Popen([peer], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as process:
        assert process.stdout.readline() == b"ready\n"
        end, body = time.monotonic() + DEADLINE_S, None
        while body is None and time.monotonic() < end:
            body = payload_of(process.pid)
            time.sleep(0.001)
        assert body, "no process context"
        context = process_context_class().FromString(body)
        assert context.SerializeToString(deterministic=True) == body, "unknown fields, or not canonical"
        found = {a.key: a.value.string_value or a.value.int_value for a in context.resource.attributes}
        assert len(found) == len(context.resource.attributes), "a key twice"
        assert found["service.name"] == "gr\u00fc\u00dfe" and found["service.instance.id"] == "4711", found
        assert found["deployment.environment.name"] == "test,one" and found["process.pid"] == process.pid, found
        assert found["telemetry.sdk.name"] == "sonde" and not context.attributes
        process.stdin.close()
    assert process.returncode == 0
    print(f"{len(found)} attributes")


if __name__ == "__main__":
    main(sys.argv[1])
