/* SPDX-License-Identifier: Apache-2.0 */
/* graphql-transport-ws and graphql-ws: which object holds the context depends on the message's type. */
#include "instrumentation/wire/json.h"
#include <sonde/carrier/graphql.h>

enum message { OTHER, INIT, OPERATION, ANSWER };

static enum message message_type(const char *frame, size_t size) {
    static const struct {
        struct sonde_string name;
        enum message message;
    } types[] = {
        {{"connection_init", 15}, INIT}, {{"subscribe", 9}, OPERATION}, {{"start", 5}, OPERATION},
        {{"next", 4}, ANSWER},           {{"data", 4}, ANSWER},
    };
    struct sonde_string value, type;
    if (!frame || !sonde__json_check(frame, size, &value) ||
        !sonde__json_find(value, (struct sonde_string){"type", 4}, &type) || !sonde__json_string(type, &type))
        return OTHER;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (sonde__json_equals(type, types[i].name))
            return types[i].message;
    return OTHER;
}

enum sonde_extract_reason sonde_graphql_extract(const char *frame, size_t size, struct sonde_context *socket,
                                                struct sonde_context *ret_context) {
    enum message message = message_type(frame, size);
    if (message == OTHER) {
        sonde_context_init(ret_context);
        return SONDE_EXTRACT_ABSENT;
    }
    struct sonde_json json;
    sonde_json_read(&json, frame, size, message == INIT ? SONDE_JSON_PAYLOAD : SONDE_JSON_PAYLOAD_EXTENSIONS);
    struct sonde_carrier carrier = sonde_json_carrier(&json);
    enum sonde_extract_reason reason = sonde_extract(&carrier, ret_context);
    bool found = sonde_span_context_is_valid(&ret_context->span);
    if (message == INIT && found)
        sonde_context_copy(socket, ret_context);
    if (message == OPERATION && !found && sonde_span_context_is_valid(&socket->span)) {
        sonde_context_copy(ret_context, socket);
        return SONDE_EXTRACT_OK;
    }
    return reason;
}
