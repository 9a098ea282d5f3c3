/* SPDX-License-Identifier: Apache-2.0 */
/* One POST with libcurl: a client span per attempt, its context in the headers, one measurement of
 * http.client.request.duration: sonde/conventions/http.h. */
#include "shop.h"
#include <pthread.h>
#include <sonde/carrier/curl.h>

static void once_init(void) {
    curl_global_init(CURL_GLOBAL_ALL);
}

static size_t discard(char *data, size_t size, size_t count, void *user) {
    (void)data, (void)user;
    return size * count;
}

long shop_post(const char *url, const char *json, const struct sonde_idempotency_key *key,
               const struct sonde_policy_call *call, bool *ret_timed_out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, once_init);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct sonde_carrier carrier = sonde_curl_carrier(&headers);
    struct sonde_http_client span;
    sonde_http_client_init(&span);
    span.method = sonde_text("POST");
    span.url = sonde_text(url);
    span.resend_count = call->attempt - 1;
    sonde_http_client_start(&span, &carrier); /* its context is in the headers now */
    sonde_policy_describe(call, &span.span);
    (void)sonde_idempotency_key_write(key, SONDE_IDEMPOTENCY_HTTP, &carrier);

    long timeout_ms = call->timeout_ns == SONDE_TIMEOUT_NONE ? 10000 : (long)(call->timeout_ns / 1000000) + 1;
    CURLcode code = CURLE_OUT_OF_MEMORY;
    long status = 0;
    if (curl && headers) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, timeout_ms);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        code = curl_easy_perform(curl);
        if (code == CURLE_OK)
            curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    if (code != CURLE_OK) {
        *ret_timed_out = code == CURLE_OPERATION_TIMEDOUT;
        span.error_type = *ret_timed_out ? "timeout" : "ConnectionError";
        sonde_span_record_exception(&span.span, span.error_type, curl_easy_strerror(code), NULL);
    }
    span.status_code = (int)status;
    sonde_http_client_end(&span);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return status;
}
