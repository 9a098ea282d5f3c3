/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON text as a carrier: the envelope of protocols whose messages have no headers. The context is a member of the
 * top-level object (WebSocket messages, MQTT 3.1.1 payloads, structured CloudEvents), or of an object further in:
 * JSON-RPC's params._meta, a GraphQL operation's payload.extensions.
 *
 *     char frame[1024] = "{\"type\":\"move\",\"x\":3}";
 *     struct sonde_json json;
 *     sonde_json_edit(&json, frame, strlen(frame), sizeof frame, SONDE_JSON_TOP);
 *     struct sonde_carrier carrier = sonde_json_carrier(&json);
 *     (void)sonde_inject(NULL, &carrier);                  // then send frame[0..json.size)
 *
 * The text is checked once, strictly (RFC 8259; at most 1 MiB and 64 levels). What is not JSON, or has another kind of
 * value where the object should be (JSON-RPC params that are an array), is an empty carrier into which nothing can be
 * set: it stays as it is, byte for byte. Setting adds members behind the last, making objects on the way as needed, and
 * keeps all other bytes. Names compare exactly; of a repeated name all values are seen.
 * Source: RFC 8259; Model Context Protocol SEP-414 (params._meta); graphql-transport-ws; SNS message formats. */
#ifndef SONDE_CARRIER_JSON_H
#define SONDE_CARRIER_JSON_H

#include <sonde/carrier.h>

SONDE_BEGIN

/** Which object holds the fields. */
enum sonde_json_place {
    SONDE_JSON_TOP = 0,            /* the top-level object */
    SONDE_JSON_PARAMS_META,        /* params._meta: JSON-RPC, MCP */
    SONDE_JSON_PAYLOAD,            /* payload: connection_init of graphql-transport-ws */
    SONDE_JSON_PAYLOAD_EXTENSIONS, /* payload.extensions: its subscribe and next */
    SONDE_JSON_EXTENSIONS,         /* extensions: a GraphQL request body */
    SONDE_JSON_SNS,                /* MessageAttributes.NAME.Value of an SNS notification; read only */
};

/** Room for values that hold escapes; more is not seen. */
#define SONDE_JSON_UNESCAPED_SIZE 4096u

/** A text with a place in it. Set up by sonde_json_read() or _edit(), which do not write `unescaped`.
 *  text  borrowed while the carrier is used.
 *  size  of the text, bytes; grows and shrinks when fields are set and removed. */
struct sonde_json {
    const char *text;
    char *room; /* the same when it may be written */
    size_t size, capacity;
    enum sonde_json_place place;
    uint32_t is_json;
    size_t unescaped_used;
    char unescaped[SONDE_JSON_UNESCAPED_SIZE];
};

/** To extract from a text. */
SONDE_API void sonde_json_read(struct sonde_json *ret_json, const char *text, size_t size, enum sonde_json_place place);

/** To inject into a text, in place. capacity: bytes of the buffer. No NUL is needed, kept or written. */
SONDE_API void sonde_json_edit(struct sonde_json *ret_json, char *text, size_t size, size_t capacity,
                               enum sonde_json_place place);

/** A carrier of the text (kept until the carrier is no longer used). set: SONDE_ETOOBIG without room, SONDE_EINVALID
 * when there is no object to put it in or the value is not UTF-8; the text is then unchanged. Not thread-safe; no
 *  allocation. */
SONDE_API struct sonde_carrier sonde_json_carrier(struct sonde_json *json);

SONDE_END

#endif
