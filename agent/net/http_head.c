/* SPDX-License-Identifier: Apache-2.0 */
/* A request's head: http_parser's callbacks; a non-zero return stops it. */
#include "agent/net/http_connection.h"
#include "agent/net/listen.h"
#include <string.h>
#include <strings.h>

#define HEAD_SIZE_MAX 16384u

enum header { HEADER_OTHER, HEADER_HOST, HEADER_ACCEPT, HEADER_ACCEPT_ENCODING };
static const struct {
    const char *name;
    enum header header;
} headers[] = {{"host", HEADER_HOST},
               {"accept", HEADER_ACCEPT},
               {"accept-encoding", HEADER_ACCEPT_ENCODING},
               {NULL, HEADER_OTHER}};

static int refuse(struct connection *connection, int status) {
    connection->refusal = status;
    return 1;
}

static int on_begin(http_parser *parser) {
    struct connection *connection = parser->data;
    connection->url_size = connection->host_size = connection->host_count = connection->name_size = 0;
    connection->accept.size = connection->accept_encoding.size = 0;
    connection->accept.is_cut = connection->accept_encoding.is_cut = false;
    connection->in_value = false;
    return 0;
}

static int on_url(http_parser *parser, const char *at, size_t size) {
    struct connection *connection = parser->data;
    if (connection->url_size + size >= sizeof connection->url)
        return refuse(connection, 414);
    memcpy(connection->url + connection->url_size, at, size);
    connection->url_size += size;
    return 0;
}

static int on_field(http_parser *parser, const char *at, size_t size) {
    struct connection *connection = parser->data;
    if (connection->in_value)
        connection->name_size = 0;
    connection->in_value = false;
    if (connection->name_size + size > sizeof connection->name)
        connection->name_size = sizeof connection->name; /* too long to be ours */
    else {
        memcpy(connection->name + connection->name_size, at, size);
        connection->name_size += size;
    }
    return 0;
}

static int header_of(const struct connection *connection) {
    for (int i = 0; headers[i].name; i++)
        if (strlen(headers[i].name) == connection->name_size &&
            strncasecmp(connection->name, headers[i].name, connection->name_size) == 0)
            return headers[i].header;
    return HEADER_OTHER;
}

static struct sonde__http_value *value_of(struct connection *connection) {
    return connection->header == HEADER_ACCEPT            ? &connection->accept
           : connection->header == HEADER_ACCEPT_ENCODING ? &connection->accept_encoding
                                                          : NULL;
}

static void value_add(struct sonde__http_value *value, const char *at, size_t size) {
    size_t room = sizeof value->text - 1 - value->size;
    value->is_cut |= size > room;
    size = size > room ? room : size;
    memcpy(value->text + value->size, at, size);
    value->size += size;
}

static void value_finish(struct sonde__http_value *value) {
    while (value->is_cut && value->size && value->text[value->size - 1] != ',')
        value->size--;
    value->text[value->size] = '\0';
}

static int on_value(http_parser *parser, const char *at, size_t size) {
    struct connection *connection = parser->data;
    if (!connection->in_value) {
        connection->header = header_of(connection);
        connection->host_count += connection->header == HEADER_HOST;
        connection->in_value = true;
        if (value_of(connection) && value_of(connection)->size)
            value_add(value_of(connection), ",", 1);
    }
    if (value_of(connection))
        value_add(value_of(connection), at, size);
    if (connection->header != HEADER_HOST)
        return 0;
    if (connection->host_count > 1 || connection->host_size + size >= sizeof connection->host)
        return refuse(connection, 400);
    memcpy(connection->host + connection->host_size, at, size);
    connection->host_size += size;
    return 0;
}

static int on_head(http_parser *parser) {
    struct connection *connection = parser->data;
    bool body = (parser->flags & F_CHUNKED) || (parser->content_length != 0 && parser->content_length != UINT64_MAX);
    connection->url[connection->url_size] = connection->host[connection->host_size] = '\0';
    value_finish(&connection->accept);
    value_finish(&connection->accept_encoding);
    if (parser->method != HTTP_GET && parser->method != HTTP_HEAD)
        return refuse(connection, 405);
    if (body)
        return refuse(connection, 413);
    if (connection->host_count != 1 || connection->url[0] != '/')
        return refuse(connection, 400);
    if (!sonde__host_is_allowed(connection->host, connection->server->options.allowed_hosts,
                                connection->server->any_address))
        return refuse(connection, 421);
    return 0;
}

static int on_complete(http_parser *parser) {
    struct connection *connection = parser->data;
    connection->complete = true;
    http_parser_pause(parser, 1); /* one at a time: what is pipelined waits */
    return 0;
}

static const http_parser_settings settings = {.on_message_begin = on_begin,
                                              .on_url = on_url,
                                              .on_header_field = on_field,
                                              .on_header_value = on_value,
                                              .on_headers_complete = on_head,
                                              .on_message_complete = on_complete};

void sonde__http_head_begin(struct connection *connection) {
    connection->complete = false;
    connection->refusal = 0;
    connection->head_size = 0;
    http_parser_init(&connection->parser, HTTP_REQUEST);
    connection->parser.data = connection;
}

int sonde__http_head_parse(struct connection *connection) {
    size_t size = connection->input_end - connection->input_at;
    size_t parsed = http_parser_execute(&connection->parser, &settings, connection->input + connection->input_at, size);
    connection->input_at += parsed;
    connection->head_size += parsed;
    if (connection->refusal)
        return connection->refusal;
    if (connection->complete)
        return 0;
    if (HTTP_PARSER_ERRNO(&connection->parser) == HPE_HEADER_OVERFLOW || connection->head_size > HEAD_SIZE_MAX)
        return 431;
    if (HTTP_PARSER_ERRNO(&connection->parser) != HPE_OK || connection->parser.upgrade)
        return 400;
    return -1;
}
