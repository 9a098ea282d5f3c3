/* SPDX-License-Identifier: Apache-2.0 */
/* What every collector does beside asking its broker: one poll per interval, one deadline over the whole of it, back-off
 * after a failure, the health series (sonde.messaging.poll.*), the agent's log (a trouble is told when it begins and
 * when it ends), the status, and the sweep of what this poll did not set. Loop thread only.
 *
 *   collector_create(): sonde__poll_create()           first poll at once
 *   start():            asks; sonde__poll_set() for what it learns
 *   when all is known:  sonde__poll_done()             or sonde__poll_fail(): the poll is worth nothing
 *   abort():            the deadline passed, or the poll was failed: stop asking, forget what is on its way */
#ifndef SONDE_AGENT_COLLECT_POLL_H
#define SONDE_AGENT_COLLECT_POLL_H

#include "agent/collect/collector.h"
#include "agent/collect/family.h"

/* What goes wrong, as values of error.type; a collector may have others of its own, at most
 * SONDE__POLL_TROUBLES_MAX in all. Static text. */
#define SONDE__TROUBLE_RESOLVE   "resolve"
#define SONDE__TROUBLE_CONNECT   "connect"
#define SONDE__TROUBLE_CLOSED    "closed"
#define SONDE__TROUBLE_TIMEOUT   "timeout"
#define SONDE__TROUBLE_TLS       "tls"
#define SONDE__TROUBLE_AUTH      "auth"
#define SONDE__TROUBLE_PROTOCOL  "protocol" /* an answer that is not as documented */
#define SONDE__TROUBLE_TOO_BIG   "too_big"
#define SONDE__TROUBLE_NOT_FOUND "not_found"
#define SONDE__TROUBLE_THROTTLED "throttled"
#define SONDE__TROUBLE_SERVER    "server" /* the broker says it failed */
#define SONDE__TROUBLE_MEMORY    "memory"
#define SONDE__TROUBLE_LEASE     "lease" /* it cannot be asked for */
enum { SONDE__POLL_TROUBLES_MAX = 24 };

struct sonde__poll;

/** env: copied; what it points to is kept until destroyed, as are address and the strings of common.
 *  system   messaging.system, static: "kafka"; also the word in the log
 *  common   the broker's identity beside messaging.system (which poll adds): server.address, server.port, cluster id
 *  start    begins a poll. From the loop.
 *  abort    see above; not called by sonde__poll_done(), nor while idle. */
struct sonde__poll_config {
    const struct sonde_collector_env *env;
    const char *system, *address;
    struct sonde_attribute common[SONDE__MESSAGING_COMMON_MAX - 1];
    size_t common_count;
    uint64_t interval_ns, timeout_ns;
    void (*start)(void *user);
    void (*abort)(void *user);
    void *user;
};

/** Returns 0, -ENOMEM, SONDE_EINVALID (the lease; told in the environment's lease_text, else in the log). The first poll
 *  starts from the loop's next turn. */
int sonde__poll_create(const struct sonde__poll_config *config, struct sonde__poll **ret_poll);
void sonde__poll_destroy(struct sonde__poll *poll); /* NULL is fine; abort is not called */
/** An attribute of the broker that is known later: Kafka's cluster id. Replaces one of the same key. Value borrowed until
 * destroyed. */
void sonde__poll_identify(struct sonde__poll *poll, struct sonde_attribute attribute);

bool sonde__poll_is_active(const struct sonde__poll *poll); /* between start and its end */
/** All answers are in: health, sweep, the next by the interval. */
void sonde__poll_done(struct sonde__poll *poll);
/** The poll is worth nothing: abort, up 0, sweep (stale lags go too), the next by back-off. text: borrowed, for people. */
void sonde__poll_fail(struct sonde__poll *poll, const char *error_type, const char *text);
/** The broker asked to wait: fails the poll, counted as throttled; the next not before wait_ns (0 = it did not say). */
void sonde__poll_throttled(struct sonde__poll *poll, uint64_t wait_ns, const char *text);
/** Something is wrong that does not end the poll: counted; logged the first time. */
void sonde__poll_note(struct sonde__poll *poll, const char *error_type, const char *text);
/** Something was left out of this poll because of a limit. */
void sonde__poll_truncated(struct sonde__poll *poll);
/** A lag was counted because the broker did not know it. */
void sonde__poll_fallback(struct sonde__poll *poll);

/** Sets a series of the family with the broker's identity. of NULL = of the whole broker. A counter is the broker's own
 *  total (it may fall: a reset). A value that is not finite is not set. */
void sonde__poll_set(struct sonde__poll *poll, enum sonde__messaging_metric metric,
                     const struct sonde__messaging_of *of, double value);
/** The same of a counter that the collector keeps itself, with the time it began at. */
void sonde__poll_set_since(struct sonde__poll *poll, enum sonde__messaging_metric metric,
                           const struct sonde__messaging_of *of, double value, uint64_t since_unix_ns);
/** For sonde_collector_ops.status. */
void sonde__poll_status(const struct sonde__poll *poll, struct sonde_collector_status *ret_status);

uint64_t sonde__poll_now_ns(const struct sonde__poll *poll);      /* monotonic */
uint64_t sonde__poll_now_unix_ns(const struct sonde__poll *poll); /* wall */

/** What an answer to an HTTP request means: NULL for 200, else the trouble; 401 and 403 are AUTH, 404 NOT_FOUND, 429
 *  THROTTLED, 5xx SERVER, others PROTOCOL. ret_text: at least 160 bytes, for people. */
const char *sonde__poll_http_trouble(const struct sonde_http_response *response, char *ret_text, size_t text_size);
/** Fails the poll as sonde__poll_http_trouble() says, or as throttled with the answer's Retry-After. Returns whether it
 *  did: false = the answer is good. */
bool sonde__poll_http_fail(struct sonde__poll *poll, const struct sonde_http_response *response);

#endif
