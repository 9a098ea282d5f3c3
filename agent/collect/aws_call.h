/* SPDX-License-Identifier: Apache-2.0 */
/* A signed request to one of AWS's services and what its answer means. The JSON protocol (X-Amz-Target,
 * application/x-amz-json-1.0) where a service has it, else the query protocol (a form, XML back). Loop thread only. */
#ifndef SONDE_AGENT_COLLECT_AWS_CALL_H
#define SONDE_AGENT_COLLECT_AWS_CALL_H

#include "agent/collect/aws_credentials.h"
#include "agent/collect/endpoint.h"
#include "exporters/http.h"
#include <jansson.h>

/** Of a service; borrowed while calls are under way. */
struct sonde__aws_service {
    const char *name;   /* as signed: "sqs", "monitoring", "sns" */
    const char *target; /* before the dot of X-Amz-Target: "AmazonSQS"; NULL = query protocol */
    const char *region;
    struct sonde__endpoint endpoint;
    struct sonde__http_client http;
    const struct sonde_alloc *alloc;
    const struct sonde_tls_options *tls;
    uint64_t timeout_ns;
    size_t answer_size_max;
};

/** What a call came to; borrowed. error_type NULL: good, root (JSON, an object) or bytes (query) is the answer.
 *  Else error_type is of poll.h and text is for people. */
struct sonde__aws_answer {
    const char *error_type;
    const char *text;
    bool is_denied; /* of AUTH: the keys are good, but may not do this */
    const json_t *root;
    const uint8_t *bytes;
    size_t size;
};
struct sonde__aws_call;
typedef void (*sonde__aws_call_done)(struct sonde__aws_call *call, const struct sonde__aws_answer *answer);

/** One at a time each; all zeros at first, in memory of the caller's. */
struct sonde__aws_call {
    const struct sonde__aws_service *service;
    sonde__aws_call_done done;
    void *user;     /* the caller's */
    void *exchange; /* NULL = idle */
    char *body;     /* owned */
    struct sonde__http_aws_sigv4 signing;
    struct sonde_string_map headers;
    char *header_keys[1], *header_values[1];
    char target[96], url[520];
};

/** Starts a call. body: borrowed, NUL-terminated; NULL = there was no memory for it. keys: borrowed until done. done is
 *  never called from inside. Returns 0, -ENOMEM. */
int sonde__aws_call_start(struct sonde__aws_call *call, const struct sonde__aws_service *service,
                          const struct sonde__aws_keys *keys, const char *action, const char *body);
/** The same with a body of JSON, which is taken: NULL or half made, -ENOMEM. */
int sonde__aws_call_json(struct sonde__aws_call *call, const struct sonde__aws_service *service,
                         const struct sonde__aws_keys *keys, const char *action, json_t *root);
void sonde__aws_call_cancel(struct sonde__aws_call *call); /* idle is fine */

/** What an error's code means ("com.amazonaws.sqs#QueueDoesNotExist"); static, of poll.h. */
const char *sonde__aws_trouble(const char *code, int status, bool *ret_is_denied);

#endif
