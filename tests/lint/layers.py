# SPDX-License-Identifier: Apache-2.0
"""include <- instrumentation <- exporters <- agent: nobody includes downwards, and libraries stay where they belong."""
import pathlib
import re
import sys
import source

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)
LAYERS = ["include", "instrumentation", "exporters", "agent"]
SOCKETS = {"sys/socket.h", "sys/un.h", "netinet/tcp.h", "netdb.h"}  # addresses alone (netinet/in.h, arpa/inet.h) are data
STANDARD = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "stdlib.h", "limits.h", "errno.h"}
# Header -> folders (or files) that may include it.
HOMES = {
    "uv.h": ["agent/loop/", "agent/net/", "agent/main"],
    "curl/curl.h": ["agent/net/", "agent/command/", "include/sonde/carrier/", "examples/", "tests/"],
    "http_parser.h": ["agent/net/", "tests/"],
    "yaml.h": ["agent/config/", "tests/"],
    "expat.h": ["agent/collect/", "tests/"],
    "hiredis/hiredis.h": ["agent/collect/", "include/sonde/carrier/", "examples/", "tests/"],
    "librdkafka/rdkafka.h": ["agent/collect/", "exporters/kafka/", "include/sonde/carrier/", "tests/"],
    "amqp.h": ["agent/collect/", "include/sonde/carrier/", "tests/"],
    "mosquitto.h": ["agent/collect/", "include/sonde/carrier/", "tests/"],
    "mqtt_protocol.h": ["agent/collect/", "include/sonde/carrier/", "tests/"],
    "nats/nats.h": ["include/sonde/carrier/", "tests/"],
    "nghttp2/nghttp2.h": ["agent/net/", "include/sonde/carrier/", "tests/"],
    "proton/codec.h": ["include/sonde/carrier/", "tests/"],
    "proton/message.h": ["include/sonde/carrier/", "tests/"],
    "microhttpd.h": ["examples/", "tests/"],
}
SOCKET_HOMES = ["instrumentation/link/", "agent/", "examples/", "tests/"]
SOCKET_BANNED = ["agent/queue/", "agent/ledger/", "agent/series/", "agent/process/", "agent/config/", "agent/discover/"]


def starts(path, prefixes):
    return any(path.startswith(p) for p in prefixes)


def check_include(path, header, quoted):
    """Why this include is wrong, or None."""
    layer = path.split("/")[0]
    target = header.split("/")[0]
    if layer == "include" and not (header.startswith("sonde/") or header in STANDARD or header in HOMES):
        return "a public header includes standard C and sonde/ only"
    if layer in LAYERS and target in LAYERS and LAYERS.index(target) > LAYERS.index(layer):
        return f"{layer} must not know {target}"
    if layer in LAYERS and target in ("tests", "examples"):
        return f"{layer} must not know {target}"
    if layer == "examples" and target in LAYERS[1:]:
        return "examples use the public headers only"
    if header in HOMES and not starts(path, HOMES[header]):
        return "only in " + ", ".join(HOMES[header])
    if header in SOCKETS and (not starts(path, SOCKET_HOMES) or starts(path, SOCKET_BANNED)):
        return "no sockets here"
    if layer == "instrumentation" and ("protobuf-c" in header or header.endswith(".pb-c.h")):
        return "libsonde has no protobuf-c"
    private = re.search(r"(^|[_/])(private|internal)\.h$", header)
    if private and quoted and "/" in header and not path.startswith(header.rsplit("/", 1)[0] + "/") \
            and layer != "tests":
        return "private to its folder"
    return None


def main(root):
    root = pathlib.Path(root)
    bad = 0
    for file in source.files(root, ".c", ".h", ".cc"):
        path = file.relative_to(root).as_posix()
        text = source.strip(file.read_text(), keep_strings=True)
        for match in INCLUDE.finditer(text):
            why = check_include(path, match.group(2), match.group(1) == '"')
            if why:
                print(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group(2)}: {why}")
                bad += 1
    return bad


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
