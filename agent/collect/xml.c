/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/xml.h"
#include <errno.h>
#include <expat.h>
#include <limits.h>
#include <sonde/err.h>
#include <string.h>

struct reader {
    XML_Parser parser;
    const struct sonde__xml_handler *handler;
    unsigned depth;
    bool refused, too_long;
    size_t text_size;
    char text[SONDE__XML_TEXT_MAX];
};

static void refuse(struct reader *reader) {
    reader->refused = true;
    (void)XML_StopParser(reader->parser, XML_FALSE);
}

static const char *local(const XML_Char *name) {
    const char *colon = strrchr(name, ':');
    return colon ? colon + 1 : name;
}

static void text_clear(struct reader *reader) {
    reader->text_size = 0;
    reader->too_long = false;
}

static void XMLCALL on_begin(void *user, const XML_Char *name, const XML_Char **attributes) {
    struct reader *reader = user;
    (void)attributes;
    if (++reader->depth > SONDE__XML_DEPTH_MAX) {
        refuse(reader);
        return;
    }
    text_clear(reader);
    if (reader->handler->begin)
        reader->handler->begin(reader->handler->user, local(name), reader->depth);
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void XMLCALL on_end(void *user, const XML_Char *name) {
    struct reader *reader = user;
    if (reader->refused) /* expat tells the end of an empty element yet after it was stopped at its begin */
        return;
    const char *at = reader->text, *end = at + reader->text_size;
    while (at < end && is_space(*at))
        at++;
    while (end > at && is_space(end[-1]))
        end--;
    struct sonde_string text = {.data = reader->too_long ? NULL : at,
                                .size = reader->too_long ? 0 : (size_t)(end - at)};
    reader->handler->end(reader->handler->user, local(name), reader->depth, text);
    reader->depth--;
    text_clear(reader);
}

static void XMLCALL on_text(void *user, const XML_Char *text, int size) {
    struct reader *reader = user;
    size_t more = (size_t)size;
    if (more > sizeof reader->text - reader->text_size) {
        reader->too_long = true;
        return;
    }
    memcpy(reader->text + reader->text_size, text, more);
    reader->text_size += more;
}

static void XMLCALL on_doctype(void *user, const XML_Char *name, const XML_Char *system, const XML_Char *public_id,
                               int internal) {
    (void)name, (void)system, (void)public_id, (void)internal;
    refuse(user);
}

int sonde__xml_read(const void *bytes, size_t size, const struct sonde__xml_handler *handler) {
    struct reader reader = {.handler = handler, .parser = XML_ParserCreate(NULL)};
    if (!reader.parser)
        return -ENOMEM;
    XML_SetUserData(reader.parser, &reader);
    XML_SetElementHandler(reader.parser, on_begin, on_end);
    XML_SetCharacterDataHandler(reader.parser, on_text);
    XML_SetStartDoctypeDeclHandler(reader.parser, on_doctype);
    enum XML_Status status = size > INT_MAX ? XML_STATUS_ERROR : XML_Parse(reader.parser, bytes, (int)size, 1);
    bool no_memory = status == XML_STATUS_ERROR && XML_GetErrorCode(reader.parser) == XML_ERROR_NO_MEMORY;
    XML_ParserFree(reader.parser);
    if (no_memory)
        return -ENOMEM;
    return status == XML_STATUS_OK && !reader.refused ? 0 : SONDE_EINVALID;
}
