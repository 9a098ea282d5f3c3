/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent: 00-<trace id, 32 digits>-<span id, 16 digits>-<flags, 2 digits>, 55 characters.
 * Everything stands at a fixed place, so there is nothing to scan: checks in the order in which a wrong value is most
 * usefully named (version, length, delimiters, digits, zero ids). A version above 00 may go on after a '-', which we
 * need not look at. Source: W3C trace-context, 3.2 (level 2); level 1 differs in the random flag only. */
#include "instrumentation/propagation/hex.h"
#include <sonde/propagation.h>

enum {
    TRACE_ID_AT = 3,
    TRACE_ID_END = 35,
    SPAN_ID_AT = 36,
    SPAN_ID_END = 52,
    FLAGS_AT = 53,
    FLAGS_KNOWN = SONDE_TRACE_FLAG_SAMPLED | SONDE_TRACE_FLAG_RANDOM,
    /* White space taken off each side here; a carrier of HTTP headers takes off all of it. Bounds the work. */
    SPACE_MAX = 256,
};

static uint64_t load64(const void *from) {
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

static bool ids_valid(const struct sonde_span_context *context) {
    return (load64(context->trace_id) | load64(context->trace_id + 8)) != 0 && load64(context->span_id) != 0;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t';
}

bool sonde_traceparent_write(const struct sonde_span_context *context, char ret_text[SONDE_TRACEPARENT_SIZE]) {
    if (!ids_valid(context))
        return false;
    memcpy(ret_text, "00-", TRACE_ID_AT);
    sonde__hex_write8(context->trace_id, ret_text + TRACE_ID_AT);
    sonde__hex_write8(context->trace_id + 8, ret_text + TRACE_ID_AT + 16);
    ret_text[TRACE_ID_END] = '-';
    sonde__hex_write8(context->span_id, ret_text + SPAN_ID_AT);
    ret_text[SPAN_ID_END] = '-';
    ret_text[FLAGS_AT] = '0';
    ret_text[FLAGS_AT + 1] = (char)('0' + (context->flags & FLAGS_KNOWN));
    return true;
}

/** What is left of the size without at most SPACE_MAX white space characters at the end. */
static size_t trim_end(const char *text, size_t size) {
    size_t least = size > SPACE_MAX ? size - SPACE_MAX : 0;
    while (size > least && is_space(text[size - 1]))
        size--;
    return size;
}

/** Version and length. A value of version 00 must be exactly 55 characters; a later one may go on with '-'. */
static enum sonde_extract_reason check_shape(const char *text, size_t size) {
    if (size < TRACE_ID_AT || text[2] != '-')
        return SONDE_EXTRACT_VERSION;
    int high = sonde__hex_digit(text[0]), low = sonde__hex_digit(text[1]);
    if ((high | low) < 0 || (high & low) == 15) /* not hex, or ff */
        return SONDE_EXTRACT_VERSION;
    if (size < SONDE_TRACEPARENT_SIZE)
        return SONDE_EXTRACT_LENGTH;
    if (size > SONDE_TRACEPARENT_SIZE && ((high | low) == 0 || text[SONDE_TRACEPARENT_SIZE] != '-'))
        return SONDE_EXTRACT_LENGTH;
    if (text[TRACE_ID_END] != '-' || text[SPAN_ID_END] != '-')
        return SONDE_EXTRACT_DELIMITER;
    return SONDE_EXTRACT_OK;
}

enum sonde_extract_reason sonde_traceparent_read(const char *text, size_t size,
                                                 struct sonde_span_context *ret_context) {
    for (int i = 0; i < SPACE_MAX && size && is_space(*text); i++, size--)
        text++;
    if (size != SONDE_TRACEPARENT_SIZE)
        size = trim_end(text, size);
    enum sonde_extract_reason reason = check_shape(text, size);
    if (reason != SONDE_EXTRACT_OK)
        return reason;
    /* Words in registers, stored once: bytes stored and loaded again at another width stall the processor. */
    uint64_t trace_high, trace_low, span;
    bool hex = sonde__hex_read8(text + TRACE_ID_AT, &trace_high);
    hex &= sonde__hex_read8(text + TRACE_ID_AT + 16, &trace_low);
    hex &= sonde__hex_read8(text + SPAN_ID_AT, &span);
    int high = sonde__hex_digit(text[FLAGS_AT]), low = sonde__hex_digit(text[FLAGS_AT + 1]);
    if (!hex || (high | low) < 0)
        return SONDE_EXTRACT_HEX;
    if ((trace_high | trace_low) == 0 || span == 0)
        return SONDE_EXTRACT_ZERO_ID;
    memcpy(ret_context->trace_id, &trace_high, 8);
    memcpy(ret_context->trace_id + 8, &trace_low, 8);
    memcpy(ret_context->span_id, &span, 8);
    ret_context->flags = (uint8_t)(low & FLAGS_KNOWN);
    ret_context->is_remote = 1;
    ret_context->decision = SONDE_DECISION_NONE;
    memset(ret_context->reserved, 0, sizeof ret_context->reserved);
    return SONDE_EXTRACT_OK;
}
