/* SPDX-License-Identifier: Apache-2.0 */
/* One event is one write(2), so that lines of several threads (and of a service manager) do not mix. */
#include "agent/log.h"
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE_MAX  4096u
#define QUOTE_SIZE_MAX 200u /* of input; a byte may become four ("\x1b") */
#define QUOTE_BUFFERS  4u

static _Atomic int log_level = SONDE_LOG_INFO;

void sonde_agent_log_level_set(enum sonde_log_level level) {
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

static size_t clamp_length(int length, size_t size) {
    if (length < 0)
        return 0;
    return (size_t)length < size ? (size_t)length : size - 1;
}

void sonde_agent_log(enum sonde_log_level level, const char *message, const char *format, ...) {
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    char line[LINE_SIZE_MAX];
    size_t room = sizeof line - 1; /* the newline */
    size_t length =
        clamp_length(snprintf(line, room, "level=%s msg=%s", names[level], sonde_agent_log_quote(message)), room);
    if (format && length + 2 < room) {
        line[length++] = ' ';
        va_list arguments;
        va_start(arguments, format);
        length += clamp_length(vsnprintf(line + length, room - length, format, arguments), room - length);
        va_end(arguments);
    }
    line[length++] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length);
    (void)written; /* a log that cannot be written has nowhere to complain */
}

static size_t quote_byte(char *out, unsigned char byte) {
    static const char hex[] = "0123456789abcdef";
    if (byte == '"' || byte == '\\') {
        out[0] = '\\';
        out[1] = (char)byte;
        return 2;
    }
    if (byte >= 0x20 && byte != 0x7f) {
        out[0] = (char)byte;
        return 1;
    }
    if (byte == '\n' || byte == '\t') {
        out[0] = '\\';
        out[1] = byte == '\n' ? 'n' : 't';
        return 2;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

const char *sonde_agent_log_quote(const char *text) {
    static _Thread_local char buffers[QUOTE_BUFFERS][QUOTE_SIZE_MAX * 4u + 8u];
    static _Thread_local unsigned turn;
    char *buffer = buffers[turn++ % QUOTE_BUFFERS];
    size_t length = 0, i = 0;
    buffer[length++] = '"';
    for (; text && text[i] && i < QUOTE_SIZE_MAX; i++)
        length += quote_byte(buffer + length, (unsigned char)text[i]);
    if (text && text[i]) {
        memcpy(buffer + length, "...", 3);
        length += 3;
    }
    buffer[length++] = '"';
    buffer[length] = '\0';
    return buffer;
}
