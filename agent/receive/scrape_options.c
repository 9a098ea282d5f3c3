/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of the prometheus_scrape receiver, and what its configuration must be. */
#include "agent/receive/scrape.h"
#include "exporters/http_headers.h"
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(struct sonde__scrape_config, member)
#define ROW(key_, type_, member_, min_, max_, default_, sentence_)                                                     \
    {                                                                                                                  \
        .key = key_, .type = SONDE_OPTION_##type_, .offset = AT(member_), .min = min_, .max = max_,                    \
        .default_text = default_, .sentence = sentence_                                                                \
    }
#define CONSUL(key_, type_, member_, min_, max_, default_, sentence_)                                                  \
    ROW("consul." key_, type_, discover.consul.member_, min_, max_, default_, sentence_)
#define EUREKA(key_, type_, member_, min_, max_, default_, sentence_)                                                  \
    ROW("eureka." key_, type_, discover.eureka.member_, min_, max_, default_, sentence_)
#define TLS_ROWS(prefix_, member_, who_)                                                                               \
    ROW(prefix_ ".tls.ca_file", STRING, discover.member_.tls.ca_file, 0, 0, "",                                        \
        "PEM file of the authorities that may vouch for " who_ "; empty means the system's."),                         \
        ROW(prefix_ ".tls.cert_file", STRING, discover.member_.tls.cert_file, 0, 0, "",                                \
            "PEM file of our own certificate, where " who_ " asks for one."),                                          \
        ROW(prefix_ ".tls.key_file", STRING, discover.member_.tls.key_file, 0, 0, "",                                  \
            "PEM file of the key of " prefix_ ".tls.cert_file."),                                                      \
        ROW(prefix_ ".tls.insecure_skip_verify", BOOL, discover.member_.tls.insecure_skip_verify, 0, 0, "false",       \
            "Whether the certificate of " who_ " goes unchecked; for trials only.")
const struct sonde_option sonde__scrape_options[] = {
    {"targets", SONDE_OPTION_STRING_LIST, AT(targets), .default_text = "",
     .sentence = "What to scrape: HOST:PORT, or a whole URL; at most 1024, those discovered included."},
    {"job", SONDE_OPTION_STRING, AT(job), .default_text = "prometheus_scrape",
     .sentence =
         "service.name of targets that neither discovery nor a target_info of their own names; host:port is their "
         "service.instance.id."},
    {"scheme", SONDE_OPTION_STRING, AT(scheme), .default_text = "http",
     .sentence = "http or https, for targets that are no URL."},
    {"metrics_path", SONDE_OPTION_STRING, AT(metrics_path), .default_text = "/metrics",
     .sentence =
         "Path, for targets that name none. A discovered one may name path, port and scheme in its metadata: "
         "prometheus.path, prometheus.port (else management.port), prometheus.scheme; in Consul with _ for the dot."},
    {"interval", SONDE_OPTION_DURATION, AT(interval_ns), 100, 3600000, "15s",
     .sentence = "Time between the starts of two scrapes of a target."},
    {"timeout", SONDE_OPTION_DURATION, AT(timeout_ns), 50, 600000, "10s",
     .sentence = "Time one scrape may take, connecting included; not longer than the interval."},
    {"body_size_limit", SONDE_OPTION_SIZE, AT(body_size_max), 1024, 268435456, "16MiB",
     .sentence = "Bytes that a target may answer; more is a scrape that failed."},
    {"sample_limit", SONDE_OPTION_INT, AT(sample_limit), 1, 1000000, "50000",
     .sentence = "Samples that a target may have; more is a scrape that failed."},
    {"headers", SONDE_OPTION_STRING_MAP, AT(headers), .default_text = "", .secret = true,
     .sentence = "Headers added to every request, at most 16."},
    {"bearer_token", SONDE_OPTION_STRING, AT(bearer_token), .default_text = "", .secret = true,
     .sentence = "Token for Authorization: Bearer; empty sends none."},
    {"basic_auth.username", SONDE_OPTION_STRING, AT(username), .default_text = "",
     .sentence = "User for Authorization: Basic; empty sends none."},
    {"basic_auth.password", SONDE_OPTION_STRING, AT(password), .default_text = "", .secret = true,
     .sentence = "Password of basic_auth.username."},
    {"labels", SONDE_OPTION_STRING_MAP, AT(labels), .default_text = "",
     .sentence = "Attributes added to every series, at most 16."},
    {"honor_labels", SONDE_OPTION_BOOL, AT(honor_labels), .default_text = "false",
     .sentence = "Whether a target's own label wins over one of `labels`; else it is renamed to exported_NAME."},
    {"tls.ca_file", SONDE_OPTION_STRING, AT(ca_file), .default_text = "",
     .sentence = "PEM file of the authorities that may vouch for a target; empty means the system's."},
    {"tls.cert_file", SONDE_OPTION_STRING, AT(cert_file), .default_text = "",
     .sentence = "PEM file of our own certificate, where a target asks for one."},
    {"tls.key_file", SONDE_OPTION_STRING, AT(key_file), .default_text = "",
     .sentence = "PEM file of the key of tls.cert_file."},
    {"tls.insecure_skip_verify", SONDE_OPTION_BOOL, AT(insecure_skip_verify), .default_text = "false",
     .sentence = "Whether a target's certificate goes unchecked; for trials only."},
    CONSUL("address", STRING, address, 0, 0, "",
           "Consul to ask for targets: HOST:PORT, or an URL with https; empty asks none."),
    {"consul.token", SONDE_OPTION_STRING, AT(discover.consul.token), .default_text = "", .secret = true,
     .sentence = "Token for X-Consul-Token; empty sends none."},
    CONSUL("datacenter", STRING, datacenter, 0, 0, "", "Datacenter to ask for; empty means the agent's own."),
    CONSUL("namespace", STRING, namespace, 0, 0, "", "Namespace to ask for (Consul Enterprise); empty names none."),
    CONSUL("partition", STRING, partition, 0, 0, "",
           "Admin partition to ask for (Consul Enterprise); empty names none."),
    CONSUL("services", STRING_LIST, services, 0, 0, "",
           "Services whose instances are targets; empty means all of the catalog but `consul` itself."),
    CONSUL("tags", STRING_LIST, tags, 0, 0, "", "Tags that an instance must have, all of them; at most 8."),
    CONSUL("passing_only", BOOL, passing_only, 0, 0, "false",
           "Whether only instances whose checks all pass are targets; else the failing ones are, too."),
    CONSUL("allow_stale", BOOL, allow_stale, 0, 0, "true",
           "Whether any server may answer, not only the leader: cheaper, and it works without a leader."),
    CONSUL("wait", DURATION, wait_ns, 1000, 600000, "2m",
           "Time Consul may hold a question back until something changes."),
    CONSUL("refresh", DURATION, refresh_ns, 100, 3600000, "30s",
           "Time between two questions about a service that has no place among watches_max."),
    CONSUL("timeout", DURATION, timeout_ns, 50, 600000, "10s", "Time one answer may take, beside `wait`."),
    CONSUL("answer_size_limit", SIZE, answer_size_max, 1024, 268435456, "8MiB",
           "Bytes that Consul may answer; more is a question that failed."),
    CONSUL("watches_max", INT, watches_max, 1, 1024, "64",
           "Services watched by a question that Consul holds back; further ones are asked about every `refresh`."),
    TLS_ROWS("consul", consul, "Consul"),
    EUREKA("servers", STRING_LIST, servers, 0, 0, "",
           "Eureka servers to ask for targets, in turn: http://HOST:PORT/eureka; at most 16, empty asks none."),
    EUREKA("username", STRING, username, 0, 0, "", "User for Authorization: Basic at Eureka; empty sends none."),
    {"eureka.password", SONDE_OPTION_STRING, AT(discover.eureka.password), .default_text = "", .secret = true,
     .sentence = "Password of eureka.username."},
    EUREKA("up_only", BOOL, up_only, 0, 0, "true", "Whether only instances with status UP are targets."),
    EUREKA("use_ip", BOOL, use_ip, 0, 0, "false", "Whether a target's host is its ipAddr, not its hostName."),
    EUREKA("refresh", DURATION, refresh_ns, 100, 3600000, "30s", "Time between two questions to Eureka."),
    EUREKA("timeout", DURATION, timeout_ns, 50, 600000, "10s", "Time one answer of Eureka may take."),
    EUREKA("answer_size_limit", SIZE, answer_size_max, 1024, 268435456, "16MiB",
           "Bytes that Eureka may answer; more is a question that failed."),
    TLS_ROWS("eureka", eureka, "Eureka"),
    SONDE_OPTION_END,
};

static int fail(char *text, size_t size, const char *key, const char *problem) {
    (void)snprintf(text, size, "%s: %s", key, problem);
    return SONDE_EINVALID;
}

static int headers_check(const struct sonde_string_map *headers, char *text, size_t size) {
    static const char *const ours[] = {
        "host", "content-length", "transfer-encoding", "connection", "accept", "accept-encoding", NULL};
    if (headers->count > SONDE__SCRAPE_LABELS_MAX)
        return fail(text, size, "headers", "more than 16");
    return sonde__http_headers_check(headers, ours, text, size);
}

static int labels_check(const struct sonde_string_map *labels, char *text, size_t size) {
    if (labels->count > SONDE__SCRAPE_LABELS_MAX)
        return fail(text, size, "labels", "more than 16");
    for (size_t i = 0; i < labels->count; i++)
        if (!*labels->keys[i] || strlen(labels->keys[i]) >= SONDE_KEY_SIZE_MAX || !sonde__http_is_line(labels->keys[i]))
            return fail(text, size, "labels", "a name is empty, too long, or not one line");
    return 0;
}

static int targets_check(const struct sonde__scrape_config *config, char *text, size_t size) {
    struct sonde__scrape_address address;
    bool discovers = false;
    if (config->targets.count > SONDE__SCRAPE_TARGETS_MAX)
        return fail(text, size, "targets", "more than 1024");
    for (size_t i = 0; i < config->targets.count; i++)
        if (sonde__scrape_address_parse(config->targets.items[i], config->scheme, config->metrics_path, &address))
            return fail(text, size, "targets",
                        "use HOST:PORT, [IPV6]:PORT, http://HOST:PORT/PATH or https://..., "
                        "without a user and password");
    for (size_t i = 0; sonde_discoverers[i]; i++)
        if (sonde_discoverers[i]->is_wanted(&config->discover)) {
            discovers = true;
            int err = sonde_discoverers[i]->check(&config->discover, text, size);
            if (err)
                return err;
        }
    return config->targets.count || discovers
               ? 0
               : fail(text, size, "targets", "none; name some, or consul.address, or eureka.servers");
}

int sonde__scrape_check(const struct sonde__scrape_config *config, char *text, size_t size) {
    if (strcmp(config->scheme, "http") != 0 && strcmp(config->scheme, "https") != 0)
        return fail(text, size, "scheme", "http or https is wanted");
    if (config->timeout_ns > config->interval_ns)
        return fail(text, size, "timeout", "must not be longer than interval");
    if (!*config->job)
        return fail(text, size, "job", "must not be empty");
    bool token = *config->bearer_token, user = *config->username;
    if (token && user)
        return fail(text, size, "bearer_token", "not together with basic_auth");
    if (!sonde__http_is_line(config->bearer_token) || strlen(config->bearer_token) > SONDE__SCRAPE_SECRET_SIZE_MAX)
        return fail(text, size, "bearer_token", "must be one line of at most 4096 bytes");
    if (strchr(config->username, ':') ||
        strlen(config->username) + strlen(config->password) > SONDE__SCRAPE_SECRET_SIZE_MAX)
        return fail(text, size, "basic_auth", "a user has no colon, and both together at most 4096 bytes");
    if (!*config->cert_file != !*config->key_file)
        return fail(text, size, *config->cert_file ? "tls.key_file" : "tls.cert_file",
                    "tls.cert_file and tls.key_file go together");
    int err = targets_check(config, text, size);
    if (!err)
        err = headers_check(&config->headers, text, size);
    return err ? err : labels_check(&config->labels, text, size);
}
