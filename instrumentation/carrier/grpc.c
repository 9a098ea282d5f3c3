/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC metadata, and the base64 of its binary values. */
#include "instrumentation/carrier/pairs.h"
#include "instrumentation/wire/base64.h"
#include <sonde/carrier/grpc.h>
#include <sonde/err.h>
#include <string.h>

static bool is_name(struct sonde_string name) {
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'))
            return false;
    }
    if (name.size >= 5 && memcmp(name.data, "grpc-", 5) == 0) /* reserved, but for this one */
        return name.size == 14 && memcmp(name.data, "grpc-trace-bin", 14) == 0;
    return name.size > 0;
}

static const struct sonde__pairs_rule rule = {
    .trim = true, .split_bin = true, .text = SONDE__PAIRS_ASCII, .name = is_name, .total_max = SONDE_GRPC_SIZE_MAX};
SONDE__PAIRS_OPS(rule);

struct sonde_carrier sonde_grpc_carrier(struct sonde_pairs *metadata) {
    return (struct sonde_carrier){&carrier_ops, metadata};
}

size_t sonde_grpc_encode(const void *bytes, size_t size, char *ret_text, size_t text_size) {
    size_t want = sonde__base64_size(size, false);
    return want > text_size ? want : sonde__base64_write(bytes, size, false, ret_text);
}

static int digit(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

int sonde_grpc_decode(const char *text, size_t size, void *ret_bytes, size_t bytes_size, size_t *ret_size) {
    uint8_t *to = ret_bytes;
    size_t out = 0;
    uint32_t word = 0;
    unsigned bits = 0;
    if (size % 4 == 0) /* padded, or a whole number of groups */
        for (int i = 0; i < 2 && size && text[size - 1] == '='; i++)
            size--;
    if (size % 4 == 1)
        return SONDE_EMALFORMED;
    if (size / 4 * 3 + (size % 4 ? size % 4 - 1 : 0) > bytes_size)
        return SONDE_ETOOBIG;
    for (size_t i = 0; i < size; i++) {
        int value = digit(text[i]);
        if (value < 0)
            return SONDE_EMALFORMED;
        word = word << 6 | (unsigned)value;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            to[out++] = (uint8_t)(word >> bits);
        }
    }
    if (word & ((1u << bits) - 1)) /* bits past the last byte: not what an encoder writes */
        return SONDE_EMALFORMED;
    *ret_size = out;
    return 0;
}
