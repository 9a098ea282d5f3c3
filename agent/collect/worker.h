/* SPDX-License-Identifier: Apache-2.0 */
/* A thread for a client library that blocks: one per broker, one job at a time. The job runs on the thread and owns
 * what it works on until `done` is called from the loop; between, the loop touches none of it but through
 * sonde__worker_cancel(). */
#ifndef SONDE_AGENT_COLLECT_WORKER_H
#define SONDE_AGENT_COLLECT_WORKER_H

#include "agent/loop/loop.h"

struct sonde__worker;

/** job   runs on the thread, all signals blocked; asks sonde__worker_is_cancelled() between steps.
 *  done  from the loop, once per job that was started, a cancelled one too. */
struct sonde__worker_config {
    struct sonde_loop *loop;
    const struct sonde_alloc *alloc;
    const char *name; /* of the thread, at most 15 bytes; static */
    void (*job)(void *user, const struct sonde__worker *worker);
    void (*done)(void *user);
    void *user;
};
/** Returns 0, -ENOMEM, -EAGAIN (no thread). */
int sonde__worker_create(const struct sonde__worker_config *config, struct sonde__worker **ret_worker);
/** Starts the job. Returns 0, -EBUSY while one runs. */
int sonde__worker_run(struct sonde__worker *worker);
bool sonde__worker_is_busy(const struct sonde__worker *worker);
/** The job shall end soon; done is still called. */
void sonde__worker_cancel(struct sonde__worker *worker);
bool sonde__worker_is_cancelled(const struct sonde__worker *worker); /* any thread */
/** Cancels, waits for the job (its calls must have time-outs of their own) and ends the thread; done is not called. */
void sonde__worker_destroy(struct sonde__worker *worker);

#endif
