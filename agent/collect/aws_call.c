/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/collect/aws_call.h"
#include "agent/collect/poll.h"
#include "agent/collect/xml.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct row {
    const char *code, *trouble;
};

static const struct row rows[] = {
    {"RequestThrottled", SONDE__TROUBLE_THROTTLED},
    {"RequestThrottledException", SONDE__TROUBLE_THROTTLED},
    {"Throttling", SONDE__TROUBLE_THROTTLED},
    {"ThrottlingException", SONDE__TROUBLE_THROTTLED},
    {"ThrottledException", SONDE__TROUBLE_THROTTLED},
    {"RequestLimitExceeded", SONDE__TROUBLE_THROTTLED},
    {"TooManyRequestsException", SONDE__TROUBLE_THROTTLED},
    {"SlowDown", SONDE__TROUBLE_THROTTLED},
    {"AccessDenied", SONDE__TROUBLE_AUTH},
    {"AccessDeniedException", SONDE__TROUBLE_AUTH},
    {"AuthorizationError", SONDE__TROUBLE_AUTH},
    {"AuthFailure", SONDE__TROUBLE_AUTH},
    {"ExpiredToken", SONDE__TROUBLE_AUTH},
    {"ExpiredTokenException", SONDE__TROUBLE_AUTH},
    {"IncompleteSignature", SONDE__TROUBLE_AUTH},
    {"IncompleteSignatureException", SONDE__TROUBLE_AUTH},
    {"InvalidAccessKeyId", SONDE__TROUBLE_AUTH},
    {"InvalidClientTokenId", SONDE__TROUBLE_AUTH},
    {"InvalidSecurity", SONDE__TROUBLE_AUTH},
    {"InvalidSignatureException", SONDE__TROUBLE_AUTH},
    {"MissingAuthenticationToken", SONDE__TROUBLE_AUTH},
    {"MissingAuthenticationTokenException", SONDE__TROUBLE_AUTH},
    {"NotAuthorized", SONDE__TROUBLE_AUTH},
    {"OptInRequired", SONDE__TROUBLE_AUTH},
    {"RequestExpired", SONDE__TROUBLE_AUTH},
    {"SignatureDoesNotMatch", SONDE__TROUBLE_AUTH},
    {"UnrecognizedClientException", SONDE__TROUBLE_AUTH},
    {"NonExistentQueue", SONDE__TROUBLE_NOT_FOUND},
    {"QueueDoesNotExist", SONDE__TROUBLE_NOT_FOUND},
    {"NotFound", SONDE__TROUBLE_NOT_FOUND},
    {"ResourceNotFoundException", SONDE__TROUBLE_NOT_FOUND},
};

const char *sonde__aws_trouble(const char *code, int status, bool *ret_is_denied) {
    const char *hash = strrchr(code, '#'), *dot = strrchr(code, '.');
    const char *name = hash ? hash + 1 : dot ? dot + 1 : code;
    *ret_is_denied = strncmp(name, "AccessDenied", 12) == 0 || strcmp(name, "AuthorizationError") == 0 ||
                     strcmp(name, "InvalidSecurity") == 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(name, rows[i].code) == 0)
            return rows[i].trouble;
    if (status == 401 || status == 403)
        return SONDE__TROUBLE_AUTH;
    if (status == 429)
        return SONDE__TROUBLE_THROTTLED;
    return status >= 500 ? SONDE__TROUBLE_SERVER : SONDE__TROUBLE_PROTOCOL;
}

/* --- errors as services tell them --- */

struct code {
    char code[96], message[160];
};

static void code_copy(struct code *code, const char *text, size_t text_size, bool is_message) {
    char *to = is_message ? code->message : code->code;
    size_t size = is_message ? sizeof code->message : sizeof code->code;
    (void)snprintf(to, size, "%.*s", text_size < size ? (int)text_size : (int)size - 1, text);
    for (char *at = to; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
}

static void on_xml_end(void *user, const char *name, unsigned depth, struct sonde_string text) {
    struct code *code = user;
    (void)depth;
    if (text.data && text.size && (strcmp(name, "Code") == 0 || strcmp(name, "Message") == 0))
        code_copy(code, text.data, text.size, name[0] == 'M');
}

static void error_read(const struct sonde_http_response *response, struct code *ret_code) {
    json_t *root = json_loadb((const char *)response->body, response->body_size, 0, NULL);
    const char *type = json_string_value(json_object_get(root, "__type"));
    const char *message = json_string_value(json_object_get(root, "message"));
    if (!message)
        message = json_string_value(json_object_get(root, "Message"));
    if (type)
        code_copy(ret_code, type, strlen(type), false);
    if (message)
        code_copy(ret_code, message, strlen(message), true);
    json_decref(root);
    const struct sonde__xml_handler handler = {.end = on_xml_end, .user = ret_code};
    if (!type && sonde__xml_read(response->body, response->body_size, &handler))
        *ret_code = (struct code){{0}, {0}};
}

/* --- calls --- */

static void call_end(struct sonde__aws_call *call) {
    if (call->service)
        sonde_alloc_free(call->service->alloc, call->body);
    call->body = NULL;
    call->exchange = NULL;
}

static void answer_bad(const struct sonde_http_response *response, struct sonde__aws_answer *answer, char *text,
                       size_t size) {
    struct code code = {{0}, {0}};
    answer->error_type = sonde__poll_http_trouble(response, text, size);
    if (response->error || !answer->error_type)
        return;
    error_read(response, &code);
    if (!*code.code)
        return;
    answer->error_type = sonde__aws_trouble(code.code, response->status, &answer->is_denied);
    const char *hash = strrchr(code.code, '#');
    (void)snprintf(text, size, "%s (HTTP status %d): %s", hash ? hash + 1 : code.code, response->status, code.message);
}

static void on_done(void *user, const struct sonde_http_response *response) {
    struct sonde__aws_call *call = user;
    char text[320] = "";
    struct sonde__aws_answer answer = {.text = text, .bytes = response->body, .size = response->body_size};
    json_t *root = NULL;
    answer_bad(response, &answer, text, sizeof text);
    if (!answer.error_type && call->service->target) {
        root = json_loadb((const char *)response->body, response->body_size, JSON_REJECT_DUPLICATES, NULL);
        answer.root = root;
        if (!json_is_object(root)) {
            answer.error_type = SONDE__TROUBLE_PROTOCOL;
            answer.text = "the answer is not an object of JSON";
        }
    }
    call_end(call);
    call->done(call, &answer);
    json_decref(root);
}

int sonde__aws_call_start(struct sonde__aws_call *call, const struct sonde__aws_service *service,
                          const struct sonde__aws_keys *keys, const char *action, const char *body) {
    call->service = service;
    size_t size = body ? strlen(body) : 0;
    call->body = body ? sonde_alloc_new(service->alloc, size + 1) : NULL;
    if (!call->body)
        return -ENOMEM;
    memcpy(call->body, body, size + 1);
    call->signing = (struct sonde__http_aws_sigv4){.region = service->region,
                                                   .service = service->name,
                                                   .access_key_id = keys->access_key_id,
                                                   .secret_access_key = keys->secret_access_key,
                                                   .session_token = keys->session_token};
    static char target_name[] = "X-Amz-Target";
    if (service->target)
        (void)snprintf(call->target, sizeof call->target, "%s.%s", service->target, action);
    call->header_keys[0] = target_name;
    call->header_values[0] = call->target;
    call->headers = (struct sonde_string_map){call->header_keys, call->header_values, 1};
    (void)snprintf(call->url, sizeof call->url, "%s/", service->endpoint.url);
    const struct sonde_http_request request = {
        .method = "POST",
        .url = call->url,
        .headers = service->target ? &call->headers : NULL,
        .content_type = service->target ? "application/x-amz-json-1.0" : "application/x-www-form-urlencoded",
        .body = (const uint8_t *)call->body,
        .body_size = size,
        .timeout_ns = service->timeout_ns,
        .response_size_max = service->answer_size_max,
        .tls = service->tls,
        .aws_sigv4 = &call->signing,
    };
    int error = service->http.start(service->http.self, &request, on_done, call, &call->exchange);
    if (error)
        call_end(call);
    return error;
}

int sonde__aws_call_json(struct sonde__aws_call *call, const struct sonde__aws_service *service,
                         const struct sonde__aws_keys *keys, const char *action, json_t *root) {
    char *body = json_dumps(root, JSON_COMPACT);
    int error = sonde__aws_call_start(call, service, keys, action, body);
    free(body);
    json_decref(root);
    return error;
}

void sonde__aws_call_cancel(struct sonde__aws_call *call) {
    if (call->exchange)
        call->service->http.cancel(call->service->http.self, call->exchange);
    call_end(call);
}
