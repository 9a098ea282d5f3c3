/* SPDX-License-Identifier: Apache-2.0 */
/* idle -> active -> idle; one timer is the next poll when idle and this one's deadline when active. */
#include "agent/collect/poll.h"
#include "agent/collect/lease.h"
#include "agent/log.h"
#include "instrumentation/resilience/backoff.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S     1000000000ull
#define RETRY_MAX_NS (60 * NS_PER_S)
#define WAIT_MAX_NS  (3600 * NS_PER_S) /* what a broker may ask us to wait */

struct trouble {
    const char *type; /* static */
    uint64_t count;
    bool noted; /* logged */
};

struct sonde__poll {
    struct sonde_collector_env env;
    struct sonde__poll_config config;
    struct sonde_attribute common[SONDE__MESSAGING_COMMON_MAX];
    size_t common_count;
    struct sonde_timer *timer;
    struct sonde__lease *lease; /* NULL = none is needed */
    struct sonde__backoff backoff;
    struct trouble troubles[SONDE__POLL_TROUBLES_MAX];
    size_t trouble_count;
    const char *reported; /* trouble of the last poll; NULL = it was good */
    bool active, truncated;
    bool led; /* when it was last asked for the lease */
    uint64_t fallbacks, throttled;
    uint64_t created_unix_ns, started_ns, last_success_unix_ns;
};

uint64_t sonde__poll_now_ns(const struct sonde__poll *poll) {
    const struct sonde_time *time = &poll->env.seams->time;
    return time->monotonic_ns(time->self);
}
uint64_t sonde__poll_now_unix_ns(const struct sonde__poll *poll) {
    const struct sonde_time *time = &poll->env.seams->time;
    return time->unix_ns(time->self);
}
bool sonde__poll_is_active(const struct sonde__poll *poll) {
    return poll->active;
}

/* --- series --- */

void sonde__poll_set_since(struct sonde__poll *poll, enum sonde__messaging_metric metric,
                           const struct sonde__messaging_of *of, double value, uint64_t since_unix_ns) {
    static const struct sonde__messaging_of whole;
    if (!isfinite(value))
        return;
    int error = sonde__messaging_set(poll->env.source, poll->common, poll->common_count, metric, of ? of : &whole,
                                     value, since_unix_ns);
    if (error && metric < SONDE__MESSAGING_POLL_UP) /* of the health series: there is nowhere left to say it */
        sonde__poll_note(poll, SONDE__TROUBLE_MEMORY, sonde_strerror(error));
}

void sonde__poll_set(struct sonde__poll *poll, enum sonde__messaging_metric metric,
                     const struct sonde__messaging_of *of, double value) {
    sonde__poll_set_since(poll, metric, of, value, 0);
}

static void put_errors(struct sonde__poll *poll) {
    for (size_t i = 0; i < poll->trouble_count; i++)
        if (poll->troubles[i].count)
            sonde__poll_set_since(poll, SONDE__MESSAGING_POLL_ERRORS,
                                  &(struct sonde__messaging_of){.error_type = poll->troubles[i].type},
                                  (double)poll->troubles[i].count, poll->created_unix_ns);
}

static void put_health(struct sonde__poll *poll, bool up) {
    uint64_t since = poll->created_unix_ns;
    if (poll->lease)
        sonde__poll_set(poll, SONDE__MESSAGING_POLL_LEADER, NULL, 1);
    sonde__poll_set(poll, SONDE__MESSAGING_POLL_UP, NULL, up);
    sonde__poll_set(poll, SONDE__MESSAGING_POLL_DURATION, NULL,
                    (double)(sonde__poll_now_ns(poll) - poll->started_ns) / (double)NS_PER_S);
    sonde__poll_set(poll, SONDE__MESSAGING_POLL_INTERVAL, NULL, (double)poll->config.interval_ns / (double)NS_PER_S);
    if (poll->last_success_unix_ns)
        sonde__poll_set(poll, SONDE__MESSAGING_POLL_LAST_SUCCESS, NULL,
                        (double)poll->last_success_unix_ns / (double)NS_PER_S);
    sonde__poll_set(poll, SONDE__MESSAGING_POLL_TRUNCATED, NULL, poll->truncated);
    sonde__poll_set_since(poll, SONDE__MESSAGING_POLL_FALLBACKS, NULL, (double)poll->fallbacks, since);
    sonde__poll_set_since(poll, SONDE__MESSAGING_POLL_THROTTLED, NULL, (double)poll->throttled, since);
    put_errors(poll);
}

static bool same_key(struct sonde_key a, struct sonde_key b) {
    return a.length == b.length && memcmp(a.text, b.text, a.length) == 0;
}

void sonde__poll_identify(struct sonde__poll *poll, struct sonde_attribute attribute) {
    size_t at = 0;
    while (at < poll->common_count && !same_key(poll->common[at].key, attribute.key))
        at++;
    if (at == SONDE__MESSAGING_COMMON_MAX)
        return;
    poll->common[at] = attribute;
    if (at == poll->common_count)
        poll->common_count++;
}

/* --- troubles --- */

static struct trouble *trouble_of(struct sonde__poll *poll, const char *type) {
    for (size_t i = 0; i < poll->trouble_count; i++)
        if (strcmp(poll->troubles[i].type, type) == 0)
            return &poll->troubles[i];
    if (poll->trouble_count == SONDE__POLL_TROUBLES_MAX)
        return &poll->troubles[SONDE__POLL_TROUBLES_MAX - 1];
    poll->troubles[poll->trouble_count].type = type;
    return &poll->troubles[poll->trouble_count++];
}

void sonde__poll_note(struct sonde__poll *poll, const char *error_type, const char *text) {
    struct trouble *trouble = trouble_of(poll, error_type);
    trouble->count++;
    if (!trouble->noted)
        sonde_agent_log(SONDE_LOG_WARN, "a broker cannot be looked at in full; its series are incomplete (told once)",
                        "collector=%s error_type=%s error=%s", sonde_agent_log_quote(poll->env.name), error_type,
                        sonde_agent_log_quote(text));
    trouble->noted = true;
}
void sonde__poll_truncated(struct sonde__poll *poll) {
    poll->truncated = true;
}
void sonde__poll_fallback(struct sonde__poll *poll) {
    poll->fallbacks++;
}

/* --- ends of a poll --- */

/** The health first, then the sweep: what this poll did not set is gone, stale lags included. */
static void end(struct sonde__poll *poll, bool up) {
    poll->active = false;
    put_health(poll, up);
    sonde_series_sweep(poll->env.source);
}

static void fail(struct sonde__poll *poll, const char *error_type, const char *text, uint64_t wait_ns) {
    if (!poll->active)
        return;
    poll->config.abort(poll->config.user);
    trouble_of(poll, error_type)->count++;
    const struct sonde_random *random = &poll->env.seams->random;
    uint64_t delay_ns = sonde__backoff_next(&poll->backoff, random->next(random->self));
    if (delay_ns < wait_ns)
        delay_ns = wait_ns < WAIT_MAX_NS ? wait_ns : WAIT_MAX_NS;
    if (!poll->reported || strcmp(poll->reported, error_type) != 0)
        sonde_agent_log(SONDE_LOG_WARN, "cannot poll a broker; lags are unknown until it answers, trying again",
                        "collector=%s address=%s error_type=%s error=%s retry_ms=%" PRIu64,
                        sonde_agent_log_quote(poll->env.name), sonde_agent_log_quote(poll->config.address), error_type,
                        sonde_agent_log_quote(text), delay_ns / 1000000);
    poll->reported = error_type;
    end(poll, false);
    end(poll, false); /* twice: what this poll set before it failed goes, too, and the health stays */
    sonde_timer_set(poll->timer, sonde__poll_now_ns(poll) + delay_ns);
}

void sonde__poll_fail(struct sonde__poll *poll, const char *error_type, const char *text) {
    fail(poll, error_type, text, 0);
}
void sonde__poll_throttled(struct sonde__poll *poll, uint64_t wait_ns, const char *text) {
    poll->throttled++;
    fail(poll, SONDE__TROUBLE_THROTTLED, text, wait_ns);
}

void sonde__poll_done(struct sonde__poll *poll) {
    if (!poll->active)
        return;
    if (poll->reported)
        sonde_agent_log(SONDE_LOG_INFO, "the broker answers again", "collector=%s address=%s",
                        sonde_agent_log_quote(poll->env.name), sonde_agent_log_quote(poll->config.address));
    poll->reported = NULL;
    poll->last_success_unix_ns = sonde__poll_now_unix_ns(poll);
    sonde__backoff_reset(&poll->backoff);
    end(poll, true);
    sonde_timer_set(poll->timer, poll->started_ns + poll->config.interval_ns);
}

/** Whether it is for us to poll. When it is not, all that is said is that: another agent says the rest. */
static bool has_lease(struct sonde__poll *poll) {
    const char *trouble = NULL;
    bool held = !poll->lease || sonde__lease_hold(poll->lease, &trouble);
    if (poll->lease && (held != poll->led || poll->started_ns == 0))
        sonde_agent_log(SONDE_LOG_INFO, held ? "has the lease: polls" : "another has the lease: does not poll",
                        "collector=%s address=%s", sonde_agent_log_quote(poll->env.name),
                        sonde_agent_log_quote(poll->config.address));
    poll->led = held;
    if (held)
        return true;
    if (trouble)
        sonde__poll_note(poll, SONDE__TROUBLE_LEASE, trouble);
    sonde__poll_set(poll, SONDE__MESSAGING_POLL_LEADER, NULL, 0);
    put_errors(poll);
    sonde_series_sweep(poll->env.source);
    poll->reported = NULL;
    sonde__backoff_reset(&poll->backoff);
    return false;
}

static void on_timer(void *user) {
    struct sonde__poll *poll = user;
    if (poll->active) {
        sonde__poll_fail(poll, SONDE__TROUBLE_TIMEOUT, "not all answers within the timeout");
        return;
    }
    bool leads = has_lease(poll);
    poll->started_ns = sonde__poll_now_ns(poll);
    if (!leads) {
        sonde_timer_set(poll->timer, poll->started_ns + poll->config.interval_ns);
        return;
    }
    poll->active = true;
    poll->truncated = false;
    sonde_timer_set(poll->timer, poll->started_ns + poll->config.timeout_ns);
    poll->config.start(poll->config.user);
}

/* --- life --- */

static int lease_create(struct sonde__poll *poll) {
    char text[300] = "";
    if (!poll->env.lease || !*poll->env.lease)
        return 0;
    int error = sonde__lease_create(&poll->env, poll->config.interval_ns, &poll->lease, text, sizeof text);
    if (error == SONDE_EINVALID && poll->env.lease_text)
        (void)snprintf(poll->env.lease_text, poll->env.lease_text_size, "%s", text);
    else if (error == SONDE_EINVALID)
        sonde_agent_log(SONDE_LOG_ERROR, "the collector cannot start", "collector=%s error=%s",
                        sonde_agent_log_quote(poll->env.name), sonde_agent_log_quote(text));
    return error;
}

int sonde__poll_create(const struct sonde__poll_config *config, struct sonde__poll **ret_poll) {
    const struct sonde_alloc *alloc = &config->env->seams->alloc;
    struct sonde__poll *poll = sonde_alloc_new(alloc, sizeof *poll);
    if (!poll)
        return -ENOMEM;
    *poll = (struct sonde__poll){
        .env = *config->env, .config = *config, .backoff = {.initial_ns = NS_PER_S, .max_ns = RETRY_MAX_NS}};
    poll->common[poll->common_count++] = sonde_attribute_string(SONDE_KEY("messaging.system"), config->system);
    for (size_t i = 0; i < config->common_count; i++)
        poll->common[poll->common_count++] = config->common[i];
    /* Not slower than a poll that works, where that is often: a test, or a server that is watched closely. */
    if (config->interval_ns < poll->backoff.initial_ns)
        poll->backoff.initial_ns = config->interval_ns;
    poll->created_unix_ns = sonde__poll_now_unix_ns(poll);
    int error = sonde_timer_create(poll->env.loop, on_timer, poll, &poll->timer);
    if (!error)
        error = lease_create(poll);
    poll->env.lease_text = NULL; /* the caller's */
    if (error) {
        sonde_timer_destroy(poll->timer);
        sonde_alloc_free(alloc, poll);
        return error;
    }
    sonde_timer_set(poll->timer, 0);
    *ret_poll = poll;
    return 0;
}

void sonde__poll_destroy(struct sonde__poll *poll) {
    if (!poll)
        return;
    sonde_timer_destroy(poll->timer);
    sonde__lease_destroy(poll->lease);
    sonde_alloc_free(&poll->env.seams->alloc, poll);
}

void sonde__poll_status(const struct sonde__poll *poll, struct sonde_collector_status *ret_status) {
    (void)snprintf(ret_status->address, sizeof ret_status->address, "%s", poll->config.address);
    (void)snprintf(ret_status->trouble, sizeof ret_status->trouble, "%s", poll->reported ? poll->reported : "");
    ret_status->last_success_unix_ns = poll->last_success_unix_ns;
}

/* --- HTTP --- */

static const char *trouble_of_errno(int error) {
    switch (error) {
    case -ETIMEDOUT:
        return SONDE__TROUBLE_TIMEOUT;
    case -EHOSTUNREACH:
        return SONDE__TROUBLE_RESOLVE;
    case -ECONNRESET:
        return SONDE__TROUBLE_CLOSED;
    case -EPROTO:
        return SONDE__TROUBLE_PROTOCOL;
    case -ENOMEM:
        return SONDE__TROUBLE_MEMORY;
    case SONDE_ETOOBIG:
        return SONDE__TROUBLE_TOO_BIG;
    default:
        return SONDE__TROUBLE_CONNECT;
    }
}

const char *sonde__poll_http_trouble(const struct sonde_http_response *response, char *ret_text, size_t text_size) {
    if (response->error) {
        (void)snprintf(ret_text, text_size, "%s", response->error_text);
        return trouble_of_errno(response->error);
    }
    if (response->status == 200)
        return NULL;
    (void)snprintf(ret_text, text_size, "HTTP status %d: %.*s", response->status,
                   (int)(response->body_size < 100 ? response->body_size : 100), (const char *)response->body);
    if (response->status == 401 || response->status == 403)
        return SONDE__TROUBLE_AUTH;
    if (response->status == 404)
        return SONDE__TROUBLE_NOT_FOUND;
    if (response->status == 429)
        return SONDE__TROUBLE_THROTTLED;
    return response->status >= 500 ? SONDE__TROUBLE_SERVER : SONDE__TROUBLE_PROTOCOL;
}

bool sonde__poll_http_fail(struct sonde__poll *poll, const struct sonde_http_response *response) {
    char text[256];
    const char *type = sonde__poll_http_trouble(response, text, sizeof text);
    if (!type)
        return false;
    if (strcmp(type, SONDE__TROUBLE_THROTTLED) != 0) {
        sonde__poll_fail(poll, type, text);
        return true;
    }
    /* Seconds only: a date is not worth a parser here, the back-off serves. */
    uint64_t seconds = strtoull(response->retry_after, NULL, 10);
    sonde__poll_throttled(poll, seconds > 3600 ? WAIT_MAX_NS : seconds * NS_PER_S, text);
    return true;
}
