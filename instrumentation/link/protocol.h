/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between libsonde and sonded: a SOCK_SEQPACKET unix socket, one message a packet, host byte order.
 *
 *   service -> agent   HELLO (once, first), MEMORY (one fd; the first MEMORY is PROCESS and carries the doorbell
 *                      eventfd as a second fd), FLUSH, PULLED, BYE
 *   agent -> service   WELCOME (one fd: the control page), ACCEPT or REFUSE per MEMORY, FLUSHED, PULL, EVICTED (then
 *                      closes)
 *   command -> agent   STEER (needs no HELLO; heard from uid 0 and the agent's own)
 *   agent -> command   STEERED
 *
 * The service sends HELLO at once, and its memories when WELCOME came; memory made later is sent when it is made.
 * After a reconnect it hands all of its memory over again; the agent knows it by process and ring ids.
 * The agent answers FLUSH when it has appended to its queue all that the peer's rings held when FLUSH arrived.
 * The agent sends PULL to a peer that has callbacks (struct sonde__process), one at a time; PULLED with its number says
 * that every callback has run since, and what it reported is in the shared cells. It may come late, or never. */
#ifndef SONDE_LINK_PROTOCOL_H
#define SONDE_LINK_PROTOCOL_H

#include <sonde/limits.h>
#include <stdint.h>

#define SONDE__PROTOCOL_VERSION 1u
#define SONDE__MESSAGE_SIZE_MAX (SONDE_RESOURCE_SIZE_MAX + 128u)

enum sonde__message_type {
    SONDE__HELLO = 1,
    SONDE__WELCOME,
    SONDE__MEMORY,
    SONDE__ACCEPT,
    SONDE__REFUSE,
    SONDE__FLUSH,
    SONDE__FLUSHED,
    SONDE__EVICTED,
    SONDE__BYE,
    SONDE__PULL,
    SONDE__PULLED,
    SONDE__STEER = 64,
    SONDE__STEERED,
};

struct sonde__message {
    uint16_t type;    /* enum sonde__message_type */
    uint16_t version; /* SONDE__PROTOCOL_VERSION */
    uint32_t size;    /* of the whole packet */
};

struct sonde__hello {
    struct sonde__message message;
    uint8_t process_id[16];
    uint32_t pid;
    uint32_t resource_size; /* encoded opentelemetry Resource message follows: 0..SONDE_RESOURCE_SIZE_MAX bytes */
};

struct sonde__welcome {
    struct sonde__message message;
    uint64_t agent_start_unix_ns;
};

/* MEMORY and its answers. The fd says the rest (struct sonde__memory_header). */
struct sonde__memory_message {
    struct sonde__message message;
    uint32_t kind; /* enum sonde__memory_kind */
    uint32_t index;
    uint32_t reason; /* REFUSE, EVICTED: enum sonde__refusal */
    uint32_t reserved;
};

enum sonde__refusal {
    SONDE__REFUSED_SEALS = 1, /* not sealed against shrinking and growing */
    SONDE__REFUSED_SIZE,
    SONDE__REFUSED_FILESYSTEM, /* not tmpfs, or huge pages */
    SONDE__REFUSED_LAYOUT,
    SONDE__REFUSED_QUOTA,
    SONDE__REFUSED_PEER,      /* credentials not allowed */
    SONDE__REFUSED_VIOLATION, /* evicted: lied three times */
};

struct sonde__flush {
    struct sonde__message message;
    uint64_t number; /* echoed in FLUSHED */
};

struct sonde__pull {
    struct sonde__message message;
    uint64_t number; /* the agent's; echoed in PULLED */
};

/* What services are to do (`sonde sample`, `sonde log-level`). The answer tells all that is set now. */
enum sonde__steer_action {
    SONDE__STEER_LIST = 0,
    SONDE__STEER_SAMPLE,
    SONDE__STEER_SAMPLE_OFF,
    SONDE__STEER_LOG_LEVEL,
    SONDE__STEER_LOG_LEVEL_OFF,
};
struct sonde__steer {
    struct sonde__message message;
    uint32_t action;
    uint32_t severity; /* 1..24 */
    double ratio;      /* 0..1 */
    char service[128]; /* NUL-terminated; "*" = all */
};
struct sonde__steered_row {
    char service[128];
    double ratio;      /* below 0 = the service's own */
    uint32_t severity; /* 0 = all */
    uint32_t by_command;
};
struct sonde__steered {
    struct sonde__message message;
    int32_t result;     /* 0, SONDE_EREFUSED, SONDE_EINVALID, SONDE_ENOTFOUND, SONDE_EFULL */
    uint32_t processes; /* of that service, now */
    uint32_t count, reserved;
    struct sonde__steered_row rows[];
};
#define SONDE__STEERED_SIZE_MAX (sizeof(struct sonde__steered) + 128u * sizeof(struct sonde__steered_row))

#endif
