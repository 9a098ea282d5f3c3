/* SPDX-License-Identifier: Apache-2.0 */
/* Per stream XLEN and XINFO GROUPS; per group XPENDING for the age of what is not acknowledged, and XRANGE behind the
 * last delivered id for the age of what waits. XINFO STREAM is not asked: its answer holds whole entries.
 *
 * The lag is the server's where it says one and it can be true (not above the length: before 7.2.6 trimming left a
 * phantom). Nil, absent (before 7.0) or impossible: the entries behind the last delivered id are counted, at most
 * count_max; that is exact below the bound and a floor at it. Unknown is no sample, never 0. Ids are times where the
 * server makes them; an age that cannot be true (explicit ids) is no sample. Source: Redis documentation, XINFO GROUPS,
 * XPENDING, XRANGE; redis/redis src/t_stream.c. */
#include "agent/collect/redis_survey.h"
#include <errno.h>
#include <inttypes.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>

#define AGE_MAX_MS   (10ull * 365 * 86400 * 1000) /* an older id is not a time */
#define AGE_SLACK_MS 1000                         /* an entry may be newer than the TIME that was asked before it */

/** What answers about one stream or group belong to. group is NULL for a stream. */
struct subject {
    struct sonde__redis_survey *survey;
    uint32_t due; /* answers that hold this */
    bool quiet;   /* a stream that is gone is no trouble */
    bool counting, length_known;
    bool asking;     /* the server has it only for those who say ASKING */
    bool redirected; /* it is followed once */
    uint64_t length; /* of the stream */
    const char *stream, *group;
    size_t stream_size, group_size;
    char text[]; /* both names */
};

struct id {
    uint64_t ms, sequence;
};

static bool digits(const char **text, const char *end, uint64_t *ret_value) {
    const char *start = *text;
    uint64_t value = 0;
    for (; *text < end && **text >= '0' && **text <= '9'; (*text)++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (unsigned)(**text - '0'), &value))
            return false;
    *ret_value = value;
    return *text > start;
}

static bool id_parse(const redisReply *reply, struct id *ret_id) {
    if (!reply || reply->type != REDIS_REPLY_STRING)
        return false;
    const char *text = reply->str, *end = reply->str + reply->len;
    return digits(&text, end, &ret_id->ms) && text < end && *text++ == '-' && digits(&text, end, &ret_id->sequence) &&
           text == end;
}

static void put(const struct subject *subject, enum sonde__messaging_metric metric, const char *state,
                const char *estimate, double value) {
    const struct sonde__messaging_of of = {.destination = {subject->stream, subject->stream_size},
                                           .group = {subject->group, subject->group_size},
                                           .state = state,
                                           .estimate = estimate};
    sonde__poll_set(subject->survey->poll, metric, &of, value);
}

static void put_age(const struct subject *subject, const char *state, uint64_t id_ms) {
    uint64_t now = subject->survey->server_ms;
    if (now == 0 || id_ms > now + AGE_SLACK_MS || (now > id_ms && now - id_ms > AGE_MAX_MS))
        return;
    put(subject, SONDE__MESSAGING_OLDEST_AGE, state, NULL, now > id_ms ? (double)(now - id_ms) / 1000.0 : 0);
}

/* --- asking --- */

static struct subject *subject_create(struct sonde__redis_survey *survey, struct sonde_string stream,
                                      const struct sonde_string *group) {
    size_t group_size = group ? group->size : 0;
    struct subject *subject = sonde_alloc_new(survey->alloc, sizeof *subject + stream.size + group_size + 1);
    if (!subject)
        return NULL;
    memset(subject, 0, sizeof *subject);
    subject->survey = survey;
    memcpy(subject->text, stream.data, stream.size);
    subject->stream = subject->text;
    subject->stream_size = stream.size;
    if (group) {
        memcpy(subject->text + stream.size, group->data, group_size);
        subject->group = subject->text + stream.size;
        subject->group_size = group_size;
    }
    return subject;
}

/** Frees the subject unless answers still hold it. */
static void subject_release(struct subject *subject) {
    if (subject->due == 0)
        sonde_alloc_free(subject->survey->alloc, subject);
}

static void ignore(void *user, const redisReply *reply) {
    (void)user;
    (void)reply;
}

static void ask(struct subject *subject, sonde__redis_reply_fn fn, int argc, const struct sonde_string *arguments) {
    struct sonde__redis_survey *survey = subject->survey;
    const char *argv[6];
    size_t argvlen[6];
    for (int i = 0; i < argc; i++) {
        argv[i] = arguments[i].data;
        argvlen[i] = arguments[i].size;
    }
    static const char *const asking[] = {"ASKING"};
    int error = subject->asking ? sonde__redis_client_send(survey->client, ignore, NULL, 1, asking, NULL) : 0;
    if (!error)
        error = sonde__redis_client_send(survey->client, fn, subject, argc, argv, argvlen);
    if (error) {
        survey->trouble(survey->user, SONDE__TROUBLE_MEMORY, sonde_strerror(error), false);
        return;
    }
    subject->due++;
    survey->due++;
}

#define TEXT(literal) ((struct sonde_string){literal, sizeof(literal) - 1})

static struct sonde_string stream_of(const struct subject *subject) {
    return (struct sonde_string){subject->stream, subject->stream_size};
}
static struct sonde_string group_of(const struct subject *subject) {
    return (struct sonde_string){subject->group, subject->group_size};
}

/** Books an answer in. Returns whether it is to be looked at; an error reply is dealt with here. */
static bool answered(struct subject *subject, const redisReply *reply, int type) {
    struct sonde__redis_survey *survey = subject->survey;
    subject->due--;
    survey->due--;
    if (!reply || !survey->active)
        return false;
    if (reply->type == type)
        return true;
    if (reply->type != REDIS_REPLY_ERROR) {
        survey->trouble(survey->user, SONDE__TROUBLE_PROTOCOL, "an answer is of another type than documented", true);
        return false;
    }
    const char *trouble = sonde__redis_reply_trouble(reply);
    if (strcmp(trouble, SONDE__TROUBLE_NOT_FOUND) == 0 && subject->quiet)
        return false; /* a stream or group that went away between two answers */
    bool fatal = strcmp(trouble, SONDE__TROUBLE_AUTH) == 0 || strcmp(trouble, SONDE__REDIS_LOADING) == 0;
    survey->trouble(survey->user, trouble, reply->str, fatal);
    return false;
}

/** The same for an answer that can be done without: an error is not looked at. What is wrong with the connection shows
 *  at the answers that are needed. */
static bool answered_if_possible(struct subject *subject, const redisReply *reply, int type) {
    if (!reply || reply->type != REDIS_REPLY_ERROR)
        return answered(subject, reply, type);
    subject->due--;
    subject->survey->due--;
    return false;
}

/** After each answer: frees what nobody waits for, and says when all is done. */
static void settle(struct subject *subject, const redisReply *reply) {
    struct sonde__redis_survey *survey = subject->survey;
    subject_release(subject);
    if (reply && survey->active && survey->due == 0)
        survey->done(survey->user);
}

/* --- answers about a group --- */

static void on_pending(void *user, const redisReply *reply) {
    struct subject *subject = user;
    struct id id;
    if (answered(subject, reply, REDIS_REPLY_ARRAY) && reply->elements >= 2) {
        if (id_parse(reply->element[1], &id))
            put_age(subject, "unacked", id.ms);
        else if (reply->element[1]->type == REDIS_REPLY_NIL) /* acknowledged since */
            put(subject, SONDE__MESSAGING_OLDEST_AGE, "unacked", NULL, 0);
    }
    settle(subject, reply);
}

static void put_lag(const struct subject *subject, uint64_t lag, bool at_least) {
    const char *estimate = at_least ? "floor" : NULL;
    put(subject, SONDE__MESSAGING_LAG, NULL, estimate, (double)lag);
    put(subject, SONDE__MESSAGING_QUEUE_MESSAGE, "ready", estimate, (double)lag);
    if (lag == 0)
        put(subject, SONDE__MESSAGING_OLDEST_AGE, "ready", NULL, 0);
}

/** Entries behind the last delivered id: the first for its age, or as many as may be counted. */
static void on_range(void *user, const redisReply *reply) {
    struct subject *subject = user;
    struct id id;
    if (answered(subject, reply, REDIS_REPLY_ARRAY)) {
        if (subject->counting)
            put_lag(subject, reply->elements, reply->elements >= (size_t)subject->survey->count_max);
        const redisReply *first = reply->elements ? reply->element[0] : NULL;
        if (first && first->type == REDIS_REPLY_ARRAY && first->elements >= 1 && id_parse(first->element[0], &id))
            put_age(subject, "ready", id.ms);
    }
    settle(subject, reply);
}

static void ask_range(struct subject *subject, struct id last, bool counting) {
    struct sonde__redis_survey *survey = subject->survey;
    char from[48], count[24];
    if (++last.sequence == 0 && ++last.ms == 0)
        return; /* behind the greatest id there is nothing */
    int from_size = snprintf(from, sizeof from, "%" PRIu64 "-%" PRIu64, last.ms, last.sequence);
    int count_size = snprintf(count, sizeof count, "%" PRId64, counting ? survey->count_max : 1);
    subject->counting = counting;
    const struct sonde_string arguments[] = {TEXT("XRANGE"), stream_of(subject), {from, (size_t)from_size},
                                             TEXT("+"),      TEXT("COUNT"),      {count, (size_t)count_size}};
    ask(subject, on_range, 6, arguments);
}

/* --- answers about a stream --- */

/** The value of a field in a flat list of names and values, or NULL. */
static const redisReply *field(const redisReply *list, const char *name) {
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        const redisReply *key = list->element[i];
        if (key->type == REDIS_REPLY_STRING && (size_t)key->len == strlen(name) &&
            memcmp(key->str, name, strlen(name)) == 0)
            return list->element[i + 1];
    }
    return NULL;
}

static bool count_of(const redisReply *reply, uint64_t *ret_count) {
    if (!reply || reply->type != REDIS_REPLY_INTEGER || reply->integer < 0)
        return false;
    *ret_count = (uint64_t)reply->integer;
    return true;
}

/** The lag of a group, from what the server says or by counting. */
static void look_at_lag(struct subject *subject, const redisReply *said, struct id last) {
    struct sonde__redis_survey *survey = subject->survey;
    uint64_t lag;
    if (count_of(said, &lag) && (!subject->length_known || lag <= subject->length)) {
        put_lag(subject, lag, false);
        if (lag && !survey->skip_entries)
            ask_range(subject, last, false);
        return;
    }
    if (survey->count_max == 0 || survey->skip_entries) {
        survey->trouble(survey->user, SONDE__REDIS_LAG_UNKNOWN, "the server does not know a group's lag", false);
        return;
    }
    sonde__poll_fallback(survey->poll);
    ask_range(subject, last, true);
}

static bool look_at_group(const struct subject *stream, const redisReply *group) {
    struct sonde__redis_survey *survey = stream->survey;
    if (group->type != REDIS_REPLY_ARRAY)
        return false;
    const redisReply *name = field(group, "name");
    uint64_t consumers, pending;
    struct id last;
    if (!name || name->type != REDIS_REPLY_STRING || !count_of(field(group, "consumers"), &consumers) ||
        !count_of(field(group, "pending"), &pending) || !id_parse(field(group, "last-delivered-id"), &last))
        return false;
    struct sonde_string group_name = {name->str, (size_t)name->len};
    struct subject *subject = subject_create(survey, stream_of(stream), &group_name);
    if (!subject) {
        survey->trouble(survey->user, SONDE__TROUBLE_MEMORY, "out of memory", false);
        return true;
    }
    subject->quiet = true;
    subject->asking = stream->asking;
    subject->length = stream->length;
    subject->length_known = stream->length_known;
    put(subject, SONDE__MESSAGING_CONSUMERS, NULL, NULL, (double)consumers);
    put(subject, SONDE__MESSAGING_QUEUE_MESSAGE, "unacked", NULL, (double)pending);
    if (pending) {
        const struct sonde_string arguments[] = {TEXT("XPENDING"), stream_of(subject), group_of(subject)};
        ask(subject, on_pending, 3, arguments);
    } else {
        put(subject, SONDE__MESSAGING_OLDEST_AGE, "unacked", NULL, 0);
    }
    look_at_lag(subject, field(group, "lag"), last);
    subject_release(subject);
    return true;
}

/** Whether the server says that another has the stream, and that is to be followed: at most MOVED, then ASK. A stream on its
 *  way is found where it is going to, which sends us where it came from, which sends us back by ASK. */
static bool is_elsewhere(const struct subject *stream, const redisReply *reply) {
    if (reply->type != REDIS_REPLY_ERROR || strcmp(sonde__redis_reply_trouble(reply), SONDE__REDIS_MOVED) != 0)
        return false;
    return reply->str[0] == 'A' ? !stream->asking : !stream->redirected;
}

static void on_groups(void *user, const redisReply *reply) {
    struct subject *stream = user;
    struct sonde__redis_survey *survey = stream->survey;
    if (reply && survey->active && is_elsewhere(stream, reply)) {
        stream->due--;
        survey->due--;
        survey->moved(survey->user, stream->stream, stream->stream_size, reply->str);
    } else if (answered(stream, reply, REDIS_REPLY_ARRAY)) {
        if (stream->length_known)
            put(stream, SONDE__MESSAGING_QUEUE_MESSAGE, "retained", NULL, (double)stream->length);
        for (size_t i = 0; i < reply->elements && survey->active; i++) {
            if (survey->groups == survey->groups_max) {
                sonde__poll_truncated(survey->poll);
                break;
            }
            survey->groups++;
            if (!look_at_group(stream, reply->element[i]))
                survey->trouble(survey->user, SONDE__TROUBLE_PROTOCOL, "XINFO GROUPS is not as documented", true);
        }
    }
    settle(stream, reply);
}

static void on_length(void *user, const redisReply *reply) {
    struct subject *stream = user;
    if (answered_if_possible(stream, reply, REDIS_REPLY_INTEGER))
        stream->length_known = count_of(reply, &stream->length);
    settle(stream, reply);
}

/** The server's clock. Without it (an ACL, say) there are no ages. */
static void on_time(void *user, const redisReply *reply) {
    struct subject *subject = user;
    uint64_t seconds = 0;
    if (answered_if_possible(subject, reply, REDIS_REPLY_ARRAY) && reply->elements == 2 &&
        reply->element[0]->type == REDIS_REPLY_STRING) {
        const char *text = reply->element[0]->str;
        if (digits(&text, text + reply->element[0]->len, &seconds) && seconds < UINT64_MAX / 2000)
            subject->survey->server_ms = seconds * 1000;
    }
    settle(subject, reply);
}

/* --- the survey --- */

void sonde__redis_survey_start(struct sonde__redis_survey *survey) {
    survey->active = true;
    survey->groups = 0;
    survey->server_ms = 0;
    if (survey->skip_entries)
        survey->skip_entries--;
    struct subject *subject = subject_create(survey, TEXT(""), NULL);
    if (!subject)
        return;
    const struct sonde_string arguments[] = {TEXT("TIME")};
    ask(subject, on_time, 1, arguments);
    subject_release(subject);
}

static void stream_ask(struct sonde__redis_survey *survey, const char *name, size_t size, struct subject how) {
    struct subject *subject = subject_create(survey, (struct sonde_string){name, size}, NULL);
    if (!subject) {
        survey->trouble(survey->user, SONDE__TROUBLE_MEMORY, "out of memory", false);
        return;
    }
    subject->quiet = how.quiet;
    subject->asking = how.asking;
    subject->redirected = how.redirected;
    /* The length first: were entries added in between, a lag above it would only be counted instead of believed. */
    const struct sonde_string length[] = {TEXT("XLEN"), stream_of(subject)};
    const struct sonde_string groups[] = {TEXT("XINFO"), TEXT("GROUPS"), stream_of(subject)};
    ask(subject, on_length, 2, length);
    ask(subject, on_groups, 3, groups);
    subject_release(subject);
}

void sonde__redis_survey_stream(struct sonde__redis_survey *survey, const char *name, size_t size, bool quiet) {
    stream_ask(survey, name, size, (struct subject){.quiet = quiet});
}
void sonde__redis_survey_moved(struct sonde__redis_survey *survey, const char *name, size_t size, bool asking) {
    stream_ask(survey, name, size, (struct subject){.quiet = true, .redirected = true, .asking = asking});
}

bool sonde__redis_survey_sent(struct sonde__redis_survey *survey) {
    return survey->due > 0;
}

void sonde__redis_survey_stop(struct sonde__redis_survey *survey) {
    survey->active = false;
}
