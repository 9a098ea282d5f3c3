/* SPDX-License-Identifier: Apache-2.0 */
/* A third of its time after the last look: GET, then POST when there is none, or PUT when it is ours or has run out.
 * resourceVersion makes the API refuse (409) what was written in between. Whether another's has run out is told by our own
 * monotonic clock, from when we saw it change last: clocks of machines are not compared. Ours counts from before the request
 * that renewed it was sent, so that we stop before another may start. */
#include "agent/collect/lease_kubernetes.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <sonde/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S     UINT64_C(1000000000)
#define ACCOUNT      "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_MAX    8192u
#define ANSWER_MAX   262144u
#define DURATION_MIN 5u
#define DURATION_MAX 3600u

struct sonde__kubernetes_lease {
    struct sonde_collector_env env;
    struct sonde_timer *timer;
    void *exchange;
    char url[600], object_url[800], space[64], name[128], identity[128], ca_file[300], token_file[300];
    char authorization[TOKEN_MAX + 8];
    char *keys[1], *values[1];
    struct sonde_string_map headers;
    struct sonde_tls_options tls;
    char *body; /* owned by jansson */
    uint64_t duration_s, asked_ns, held_until_ns;
    char seen_holder[128], seen_renewed[64]; /* as they were when they changed last, which was then: */
    uint64_t seen_ns;
    char trouble[256];
};

static uint64_t now_ns(const struct sonde__kubernetes_lease *lease) {
    const struct sonde_time *time = &lease->env.seams->time;
    return time->monotonic_ns(time->self);
}

static void again(struct sonde__kubernetes_lease *lease) {
    sonde_timer_set(lease->timer, now_ns(lease) + lease->duration_s * NS_PER_S / 3);
}

/* --- requests --- */

/** The token is read each time: it is replaced every hour. */
static bool authorize(struct sonde__kubernetes_lease *lease) {
    memcpy(lease->authorization, "Bearer ", 7);
    FILE *file = fopen(lease->token_file, "re");
    size_t size = file ? fread(lease->authorization + 7, 1, TOKEN_MAX, file) : 0;
    if (file)
        (void)fclose(file);
    lease->authorization[7 + size] = '\0';
    lease->authorization[strcspn(lease->authorization, "\r\n")] = '\0';
    if (!size)
        (void)snprintf(lease->trouble, sizeof lease->trouble, "%.150s cannot be read", lease->token_file);
    return size > 0;
}

static void ask(struct sonde__kubernetes_lease *lease, const char *method, const char *url, sonde_http_done done) {
    struct sonde_http_request request = {.method = method,
                                         .url = url,
                                         .headers = &lease->headers,
                                         .content_type = lease->body ? "application/json" : NULL,
                                         .body = (const uint8_t *)lease->body,
                                         .body_size = lease->body ? strlen(lease->body) : 0,
                                         .timeout_ns = lease->duration_s * NS_PER_S / 3,
                                         .response_size_max = ANSWER_MAX,
                                         .tls = &lease->tls};
    lease->asked_ns = now_ns(lease);
    if (lease->env.http.start(lease->env.http.self, &request, done, lease, &lease->exchange))
        again(lease);
}

static bool failed(struct sonde__kubernetes_lease *lease, const struct sonde_http_response *response) {
    if (response->error)
        (void)snprintf(lease->trouble, sizeof lease->trouble, "Kubernetes: %.200s", response->error_text);
    else if (response->status != 200 && response->status != 201)
        (void)snprintf(lease->trouble, sizeof lease->trouble, "Kubernetes: HTTP status %d", response->status);
    else
        return false;
    return true;
}

/* --- taking and renewing --- */

static void on_written(void *user, const struct sonde_http_response *response) {
    struct sonde__kubernetes_lease *lease = user;
    lease->exchange = NULL;
    free(lease->body);
    lease->body = NULL;
    if (!response->error && response->status == 409)
        lease->held_until_ns = 0; /* another was faster */
    else if (!failed(lease, response))
        lease->held_until_ns = lease->asked_ns + lease->duration_s * NS_PER_S;
    again(lease);
}

static json_t *time_text(const struct sonde__kubernetes_lease *lease) {
    const struct sonde_time *time = &lease->env.seams->time;
    uint64_t unix_ns = time->unix_ns(time->self);
    time_t seconds = (time_t)(unix_ns / NS_PER_S);
    struct tm parts;
    char text[40];
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &parts));
    (void)snprintf(text + size, sizeof text - size, ".%06uZ", (unsigned)(unix_ns % NS_PER_S / 1000));
    return json_string(text);
}

/** Writes our hold into the object, which may be new, and sends it. */
static void write_it(struct sonde__kubernetes_lease *lease, json_t *object, bool mine, bool made) {
    json_t *spec = json_object_get(object, "spec");
    if (!json_is_object(spec)) {
        spec = json_object();
        (void)json_object_set_new(object, "spec", spec);
    }
    json_int_t transitions = json_integer_value(json_object_get(spec, "leaseTransitions"));
    (void)json_object_set_new(spec, "holderIdentity", json_string(lease->identity));
    (void)json_object_set_new(spec, "leaseDurationSeconds", json_integer((json_int_t)lease->duration_s));
    (void)json_object_set_new(spec, "renewTime", time_text(lease));
    if (!mine) {
        (void)json_object_set_new(spec, "acquireTime", time_text(lease));
        (void)json_object_set_new(spec, "leaseTransitions", json_integer(transitions + !made));
    }
    lease->body = json_dumps(object, JSON_COMPACT);
    if (lease->body)
        ask(lease, made ? "POST" : "PUT", made ? lease->url : lease->object_url, on_written);
    else
        again(lease);
}

/** Whether the object is ours or nobody's. */
static bool may_take(struct sonde__kubernetes_lease *lease, const json_t *object, bool *ret_mine) {
    const json_t *spec = json_object_get(object, "spec");
    const char *holder = json_string_value(json_object_get(spec, "holderIdentity"));
    const char *renewed = json_string_value(json_object_get(spec, "renewTime"));
    json_int_t seconds = json_integer_value(json_object_get(spec, "leaseDurationSeconds"));
    uint64_t now = now_ns(lease);
    holder = holder ? holder : "";
    renewed = renewed ? renewed : "";
    *ret_mine = strcmp(holder, lease->identity) == 0;
    if (strncmp(holder, lease->seen_holder, sizeof lease->seen_holder - 1) != 0 ||
        strncmp(renewed, lease->seen_renewed, sizeof lease->seen_renewed - 1) != 0 || !lease->seen_ns) {
        (void)snprintf(lease->seen_holder, sizeof lease->seen_holder, "%s", holder);
        (void)snprintf(lease->seen_renewed, sizeof lease->seen_renewed, "%s", renewed);
        lease->seen_ns = now;
    }
    uint64_t lasts_s = seconds > 0 && seconds <= (json_int_t)DURATION_MAX ? (uint64_t)seconds : lease->duration_s;
    return *ret_mine || !*holder || now - lease->seen_ns >= lasts_s * NS_PER_S;
}

static void on_read(void *user, const struct sonde_http_response *response) {
    struct sonde__kubernetes_lease *lease = user;
    bool mine = false, made = !response->error && response->status == 404;
    json_t *object = NULL;
    lease->exchange = NULL;
    lease->trouble[0] = '\0';
    if (made)
        object = json_pack("{s:s,s:s,s:{s:s,s:s}}", "apiVersion", "coordination.k8s.io/v1", "kind", "Lease", "metadata",
                           "name", lease->name, "namespace", lease->space);
    else if (!failed(lease, response))
        object = json_loadb((const char *)response->body, response->body_size, 0, NULL);
    if (!lease->trouble[0] && !json_is_object(object))
        (void)snprintf(lease->trouble, sizeof lease->trouble, "Kubernetes: the answer is no Lease");
    else if (json_is_object(object) && (made || may_take(lease, object, &mine)))
        write_it(lease, object, mine, made);
    else if (!mine && !lease->trouble[0])
        lease->held_until_ns = 0;
    json_decref(object);
    if (!lease->exchange)
        again(lease);
}

static void on_timer(void *user) {
    struct sonde__kubernetes_lease *lease = user;
    if (lease->exchange)
        return; /* its end sets the timer */
    if (authorize(lease))
        ask(lease, "GET", lease->object_url, on_read);
    else
        again(lease);
}

/* --- the interface --- */

bool sonde__kubernetes_lease_hold(struct sonde__kubernetes_lease *lease, const char **ret_trouble) {
    *ret_trouble = lease->trouble[0] ? lease->trouble : NULL;
    return now_ns(lease) < lease->held_until_ns;
}

/** A name of Kubernetes: it goes into a URL as it is. */
static bool name_is_good(const char *name, size_t size, size_t max) {
    return size > 0 && size < max && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") >= size;
}

static int where(struct sonde__kubernetes_lease *lease, const char *name, char *text, size_t size) {
    const char *slash = strchr(name, '/'), *host = getenv("KUBERNETES_SERVICE_HOST"),
               *port = getenv("KUBERNETES_SERVICE_PORT"), *account = getenv("SONDE_KUBERNETES_ACCOUNT");
    if (!slash || !name_is_good(name, (size_t)(slash - name), sizeof lease->space) ||
        !name_is_good(slash + 1, strlen(slash + 1), sizeof lease->name)) {
        (void)snprintf(text, size, "lease: \"kubernetes:%.80s\" is not accepted; use kubernetes:NAMESPACE/NAME", name);
        return SONDE_EINVALID;
    }
    if (!host || !port || strlen(host) > 255 || strlen(port) > 5) {
        (void)snprintf(text, size, "lease: kubernetes: only in a cluster, where KUBERNETES_SERVICE_HOST is set");
        return SONDE_EINVALID;
    }
    bool v6 = strchr(host, ':');
    (void)snprintf(lease->space, sizeof lease->space, "%.*s", (int)(slash - name), name);
    (void)snprintf(lease->name, sizeof lease->name, "%s", slash + 1);
    (void)snprintf(lease->url, sizeof lease->url, "https://%s%s%s:%s/apis/coordination.k8s.io/v1/namespaces/%s/leases",
                   v6 ? "[" : "", host, v6 ? "]" : "", port, lease->space);
    (void)snprintf(lease->object_url, sizeof lease->object_url, "%s/%s", lease->url, lease->name);
    (void)snprintf(lease->ca_file, sizeof lease->ca_file, "%s/ca.crt", account ? account : ACCOUNT);
    (void)snprintf(lease->token_file, sizeof lease->token_file, "%s/token", account ? account : ACCOUNT);
    return 0;
}

int sonde__kubernetes_lease_create(const char *name, const struct sonde_collector_env *env, uint64_t interval_ns,
                                   struct sonde__kubernetes_lease **ret_lease, char *error_text,
                                   size_t error_text_size) {
    struct sonde__kubernetes_lease *lease = sonde_alloc_new(&env->seams->alloc, sizeof *lease);
    char host[64] = "sonded";
    if (!lease)
        return -ENOMEM;
    memset(lease, 0, sizeof *lease);
    lease->env = *env;
    int error = where(lease, name, error_text, error_text_size);
    if (!error)
        error = sonde_timer_create(env->loop, on_timer, lease, &lease->timer);
    if (error) {
        sonde_alloc_free(&env->seams->alloc, lease);
        return error;
    }
    uint64_t seconds = interval_ns * 3 / NS_PER_S + 1;
    lease->duration_s = seconds < DURATION_MIN ? DURATION_MIN : seconds > DURATION_MAX ? DURATION_MAX : seconds;
    (void)gethostname(host, sizeof host - 1);
    (void)snprintf(lease->identity, sizeof lease->identity, "%s_%016" PRIx64, host,
                   env->seams->random.next(env->seams->random.self));
    lease->keys[0] = (char *)(uintptr_t) "Authorization";
    lease->values[0] = lease->authorization;
    lease->headers = (struct sonde_string_map){lease->keys, lease->values, 1};
    lease->tls = (struct sonde_tls_options){.ca_file = lease->ca_file};
    sonde_timer_set(lease->timer, 0);
    *ret_lease = lease;
    return 0;
}

void sonde__kubernetes_lease_destroy(struct sonde__kubernetes_lease *lease) {
    if (!lease)
        return;
    if (lease->exchange)
        lease->env.http.cancel(lease->env.http.self, lease->exchange);
    free(lease->body);
    sonde_timer_destroy(lease->timer);
    explicit_bzero(lease->authorization, sizeof lease->authorization);
    sonde_alloc_free(&lease->env.seams->alloc, lease);
}
