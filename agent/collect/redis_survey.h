/* SPDX-License-Identifier: Apache-2.0 */
/* One look at all streams: asks about streams and their consumer groups and sets the series. Every question is sent as
 * soon as it is known; the survey is done when the last answer is in. */
#ifndef SONDE_AGENT_REDIS_SURVEY_H
#define SONDE_AGENT_REDIS_SURVEY_H

#include "agent/collect/redis_client.h"

/** Set once: client to user. The rest belongs to the survey.
 *  poll     takes the series, fallbacks and what was left out; active while the survey is
 *  done     the last answer is in. Not called after sonde__redis_survey_stop().
 *  trouble  something is wrong; when fatal, the whole look is worth nothing (it goes on until it is stopped).
 *  Both from inside a reply; they may stop the survey and close the client. */
struct sonde__redis_survey {
    struct sonde__redis_client *client;
    const struct sonde_alloc *alloc;
    struct sonde__poll *poll;
    int64_t count_max;   /* entries to count where the server does not know the lag; 0 = do not count */
    uint32_t groups_max; /* over all streams; later ones are left out */
    void (*done)(void *user);
    void (*moved)(void *user, const char *name, size_t size,
                  const char *text); /* a stream is elsewhere, says the server */
    void (*trouble)(void *user, const char *trouble, const char *text, bool fatal);
    void *user;

    bool active;
    uint32_t due;          /* answers */
    uint32_t groups;       /* looked at */
    uint64_t server_ms;    /* the server's own clock, which made the ids */
    uint64_t skip_entries; /* looks for which no entries are read: their reply was too big */
};

void sonde__redis_survey_start(struct sonde__redis_survey *survey);
/** Asks about a stream. quiet: a stream that is gone is no trouble. Name: copied, no NUL needed. */
void sonde__redis_survey_stream(struct sonde__redis_survey *survey, const char *name, size_t size, bool quiet);
/** The same for a stream that another server sent us here for; asking: by ASK, so that it must be said with each command. */
void sonde__redis_survey_moved(struct sonde__redis_survey *survey, const char *name, size_t size, bool asking);
/** To be called when all streams were asked about: `done` may be called from now on (not from inside). Returns false
 * when nothing is due: then it will not be called. */
bool sonde__redis_survey_sent(struct sonde__redis_survey *survey);
/** Answers that still come are ignored. */
void sonde__redis_survey_stop(struct sonde__redis_survey *survey);

#endif
