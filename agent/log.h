/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's own log: one line per event on stderr, `level=info msg="..." key=value ...`, with the consequence in the
 * message ("retrying in 500 ms"). An error is logged once, by the function that handles it. Never header values,
 * attribute values or secrets. */
#ifndef SONDE_AGENT_LOG_H
#define SONDE_AGENT_LOG_H

enum sonde_log_level { SONDE_LOG_ERROR = 0, SONDE_LOG_WARN, SONDE_LOG_INFO, SONDE_LOG_DEBUG };

/** Level shown and above; INFO at first. */
void sonde_agent_log_level_set(enum sonde_log_level level);
/** message: a plain sentence without variables. format: "key=%s key2=%d" or NULL; string values are quoted and escaped
 * by the caller's use of sonde_agent_log_quote(). Async-signal-unsafe; loop thread and worker threads. */
void sonde_agent_log(enum sonde_log_level level, const char *message, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Quotes text for a value: "..." with control characters and quotes escaped, cut at 200 bytes. Uses one of 4
 * thread-local buffers in turn. */
const char *sonde_agent_log_quote(const char *text);

#endif
