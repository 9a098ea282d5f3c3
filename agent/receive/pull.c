/* SPDX-License-Identifier: Apache-2.0 */
/* Asking peers for the values of their observable instruments: PULL to each that has callbacks, one at a time. Who does
 * not answer in time (a slow callback, a stopped process) is waited for once, and then no more until it has answered:
 * its last values serve, and each time that is so is counted. */
#include "agent/receive/services.h"

/* Has it callbacks, and a connection to be asked by? */
static bool is_of_use(const struct sonde__peer *peer) {
    if (peer->state != SONDE__PEER_ALIVE || peer->violated || !peer->connection || !peer->process)
        return false;
    const struct sonde__process *process = peer->process->pages;
    return atomic_load_explicit(&process->callbacks, memory_order_relaxed) != 0;
}

bool sonde__services_pull(void *self) {
    struct sonde__services *services = self;
    for (struct sonde__peer *peer = services->peers; peer; peer = peer->next) {
        if (!is_of_use(peer))
            continue;
        if (peer->pull_open) {
            services->env.ledger->pulls_late++;
            continue;
        }
        struct sonde__pull pull = {{SONDE__PULL, SONDE__PROTOCOL_VERSION, sizeof pull}, ++peer->pull_number};
        peer->pull_open = peer->pull_waited = true;
        services->env.ledger->pulls++;
        sonde__connection_send(peer->connection, &pull, sizeof pull, -1); /* closed, it waits for nothing */
    }
    return sonde__services_pulling(services);
}

bool sonde__services_pulling(void *self) {
    const struct sonde__services *services = self;
    for (const struct sonde__peer *peer = services->peers; peer; peer = peer->next)
        if (peer->pull_waited)
            return true;
    return false;
}

void sonde__services_pull_end(void *self) {
    struct sonde__services *services = self;
    for (struct sonde__peer *peer = services->peers; peer; peer = peer->next) {
        services->env.ledger->pulls_late += peer->pull_waited;
        peer->pull_waited = false;
    }
}

static void waited_no_more(struct sonde__peer *peer) {
    const struct sonde_receiver_env *env = &peer->services->env;
    if (peer->pull_waited && env->pulled)
        env->pulled(env->pulled_user);
    peer->pull_open = peer->pull_waited = false;
}

void sonde__peer_pulled(struct sonde__peer *peer, uint64_t number) {
    if (!peer->pull_open || number != peer->pull_number)
        sonde__peer_violation(peer, "an answer to what was not asked");
    else
        waited_no_more(peer);
}

void sonde__peer_pull_forget(struct sonde__peer *peer) {
    waited_no_more(peer);
}
