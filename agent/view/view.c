/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/view/view.h"
#include "agent/view/metrics.h"
#include "agent/view/page.h"
#include "agent/view/status.h"
#include <errno.h>
#include <string.h>

#define TEXT            "text/plain; charset=utf-8"
#define REFRESH_SECONDS 5u
#define BODY_SIZE_MAX   (256u << 20)

/* A body that grows. */
struct body {
    const struct sonde_alloc *alloc;
    char *data;
    size_t size, room;
};

static int body_write(void *self, const char *text, size_t size) {
    struct body *body = self;
    if (size > BODY_SIZE_MAX - body->size)
        return -EFBIG;
    if (body->size + size > body->room) {
        size_t room = body->room ? body->room * 2 : 16384;
        while (room < body->size + size)
            room *= 2;
        char *data = body->alloc->resize(body->alloc->self, body->data, room);
        if (!data)
            return -ENOMEM;
        body->data = data;
        body->room = room;
    }
    memcpy(body->data + body->size, text, size);
    body->size += size;
    return 0;
}

static void answer(struct sonde_http_answer *ret_answer, int status, const char *content_type, struct body *body) {
    ret_answer->status = status;
    ret_answer->content_type = content_type;
    ret_answer->body = body->data;
    ret_answer->body_size = body->size;
}

static void answer_text(const struct sonde_daemon *daemon, struct sonde_http_answer *ret_answer, int status,
                        const char *content_type, const char *text) {
    struct body body = {.alloc = &daemon->seams->alloc};
    (void)body_write(&body, text, strlen(text)); /* out of memory: an empty body */
    answer(ret_answer, status, content_type, &body);
}

static void health(struct sonde_daemon *daemon, struct sonde_http_answer *ret_answer) {
    struct body body = {.alloc = &daemon->seams->alloc};
    json_t *status = sonde__status_json(daemon), *problems = json_object_get(status, "problems"), *problem;
    size_t i;
    json_array_foreach(problems, i, problem) {
        (void)body_write(&body, json_string_value(problem), json_string_length(problem));
        (void)body_write(&body, "\n", 1);
    }
    bool healthy = json_is_true(json_object_get(status, "healthy"));
    json_decref(status);
    if (healthy)
        (void)body_write(&body, "ok\n", 3);
    answer(ret_answer, healthy ? 200 : 503, TEXT, &body);
}

static ssize_t body_cookie_write(void *body, const char *text, size_t size) {
    return body_write(body, text, size) ? 0 : (ssize_t)size;
}

static void page(struct sonde_daemon *daemon, struct sonde_http_answer *ret_answer) {
    struct body body = {.alloc = &daemon->seams->alloc};
    FILE *out = fopencookie(&body, "w", (cookie_io_functions_t){.write = body_cookie_write});
    if (out) {
        json_t *status = sonde__status_json(daemon);
        sonde__page_write(status, daemon->seams->time.unix_ns(daemon->seams->time.self), out);
        json_decref(status);
    }
    if (!out || fclose(out) != 0) {
        sonde_alloc_free(&daemon->seams->alloc, body.data);
        answer_text(daemon, ret_answer, 500, TEXT, "The page could not be written.\n");
        return;
    }
    answer(ret_answer, 200, "text/html; charset=utf-8", &body);
    ret_answer->refresh_seconds = REFRESH_SECONDS;
}

static int body_dump(const char *text, size_t size, void *body) {
    return body_write(body, text, size) ? -1 : 0;
}

static void api_status(struct sonde_daemon *daemon, struct sonde_http_answer *ret_answer) {
    struct body body = {.alloc = &daemon->seams->alloc};
    json_t *status = sonde__status_json(daemon);
    int failed = json_dump_callback(status, body_dump, &body, JSON_INDENT(2));
    (void)body_write(&body, "\n", 1);
    json_decref(status);
    answer(ret_answer, failed ? 500 : 200, "application/json", &body);
}

void sonde__view_handle(void *user, const struct sonde_http_asked *asked, struct sonde_http_answer *ret_answer) {
    struct sonde_daemon *daemon = user;
    const char *path = asked->path;
    bool ready = daemon->state == SONDE__DAEMON_RUNNING;
    if (strcmp(path, "/metrics") == 0 && !asked->again && !asked->head_only && sonde__pull(daemon))
        ret_answer->later = true; /* once services have told their values */
    else if (strcmp(path, "/metrics") == 0)
        sonde__metrics_answer(daemon, asked, ret_answer);
    else if (strcmp(path, "/") == 0)
        page(daemon, ret_answer);
    else if (strcmp(path, "/style.css") == 0)
        answer_text(daemon, ret_answer, 200, "text/css; charset=utf-8", sonde__page_style);
    else if (strcmp(path, "/api/status") == 0)
        api_status(daemon, ret_answer);
    else if (strcmp(path, "/livez") == 0)
        answer_text(daemon, ret_answer, 200, TEXT, "ok\n");
    else if (strcmp(path, "/readyz") == 0)
        answer_text(daemon, ret_answer, ready ? 200 : 503, TEXT, ready ? "ok\n" : "not running\n");
    else if (strcmp(path, "/healthz") == 0)
        health(daemon, ret_answer);
    else
        answer_text(daemon, ret_answer, 404, TEXT,
                    "Nothing is here. There are /, /metrics, /api/status, /livez, /readyz and /healthz.\n");
}
