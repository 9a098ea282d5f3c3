# SPDX-License-Identifier: Apache-2.0
"""libsonde from Python by ctypes, without a compiler.  usage: hello.py LIBSONDE.so
A span with attributes and a child, whose context is injected into headers; prints the headers."""
import ctypes
import sys


class Key(ctypes.Structure):  # passed by value: two registers
    _fields_ = [("text", ctypes.c_char_p), ("length", ctypes.c_uint32), ("bits", ctypes.c_uint8 * 2),
                ("padded", ctypes.c_uint8), ("reserved", ctypes.c_uint8)]


class SpanContext(ctypes.Structure):
    _fields_ = [("trace_id", ctypes.c_uint8 * 16), ("span_id", ctypes.c_uint8 * 8), ("flags", ctypes.c_uint8),
                ("is_remote", ctypes.c_uint8), ("decision", ctypes.c_uint8), ("reserved", ctypes.c_uint8 * 5)]


class Span(ctypes.Structure):
    _fields_ = [("context", SpanContext), ("slot", ctypes.c_uint32), ("generation", ctypes.c_uint32),
                ("token_depth", ctypes.c_uint32), ("token_generation", ctypes.c_uint32)]


class String(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("size", ctypes.c_size_t)]


class Header(ctypes.Structure):
    _fields_ = [("name", String), ("value", String)]


class Headers(ctypes.Structure):
    _fields_ = [("headers", ctypes.POINTER(Header)), ("count", ctypes.c_size_t), ("capacity", ctypes.c_size_t),
                ("text", ctypes.c_char_p), ("text_size", ctypes.c_size_t), ("text_used", ctypes.c_size_t)]


class Carrier(ctypes.Structure):
    _fields_ = [("ops", ctypes.c_void_p), ("self", ctypes.c_void_p)]


def load(path):
    lib = ctypes.CDLL(path)
    span = ctypes.POINTER(Span)
    lib.sonde_ffi_key.argtypes, lib.sonde_ffi_key.restype = [ctypes.c_char_p, ctypes.c_size_t], Key
    lib.sonde_span_start.argtypes = [span, Key, ctypes.c_void_p]
    lib.sonde_span_end.argtypes = [span]
    lib.sonde_span_set_string.argtypes = [span, Key, ctypes.c_char_p, ctypes.c_size_t]
    lib.sonde_span_set_int64.argtypes = [span, Key, ctypes.c_int64]
    lib.sonde_span_set_double.argtypes = [span, Key, ctypes.c_double]
    lib.sonde_span_set_bool.argtypes = [span, Key, ctypes.c_bool]
    lib.sonde_http_carrier.argtypes, lib.sonde_http_carrier.restype = [ctypes.POINTER(Headers)], Carrier
    lib.sonde_inject.argtypes = [ctypes.c_void_p, ctypes.POINTER(Carrier)]
    lib.sonde_shutdown.argtypes = [ctypes.c_uint32]
    for function in (lib.sonde_span_start, lib.sonde_span_end, lib.sonde_span_set_string, lib.sonde_span_set_int64,
                     lib.sonde_span_set_double, lib.sonde_span_set_bool):
        function.restype = None
    return lib


def main(path):
    lib = load(path)
    keys = {}

    def key(name):
        """Kept with its text: a key only borrows it."""
        if name not in keys:
            text = name.encode()
            keys[name] = (text, lib.sonde_ffi_key(text, len(text)))
        return keys[name][1]

    outer, inner = Span(), Span()
    lib.sonde_span_start(outer, key("hello"), None)
    value = "Grüße".encode()
    lib.sonde_span_set_string(outer, key("greeting"), value, len(value))
    lib.sonde_span_set_int64(outer, key("count"), -7)
    lib.sonde_span_set_double(outer, key("ratio"), 0.5)
    lib.sonde_span_set_bool(outer, key("polite"), True)
    lib.sonde_span_start(inner, key("send"), None)

    room = ctypes.create_string_buffer(16384)
    items = (Header * 4)()
    headers = Headers(items, 0, 4, ctypes.cast(room, ctypes.c_char_p), len(room), 0)
    carrier = lib.sonde_http_carrier(headers)
    lib.sonde_inject(None, carrier)  # None: the current context
    for header in items[:headers.count]:
        print(f"{header.name.data[:header.name.size].decode()}: {header.value.data[:header.value.size].decode()}")

    lib.sonde_span_end(inner)
    lib.sonde_span_end(outer)
    lib.sonde_shutdown(5000)


if __name__ == "__main__":
    main(sys.argv[1])
