/* SPDX-License-Identifier: Apache-2.0 */
/* STEER: an operator's word that comes in by the services' socket. The kernel says who sends it; nobody but root and the
 * agent's own user is heard. */
#include "agent/log.h"
#include "agent/receive/services.h"
#include <sonde/err.h>
#include <string.h>
#include <unistd.h>

static uint32_t processes_of(const struct sonde__services *services, const char *service) {
    uint32_t count = 0;
    bool all = strcmp(service, "*") == 0;
    for (const struct sonde__peer *peer = services->peers; peer; peer = peer->next)
        count += peer->state == SONDE__PEER_ALIVE && (all || strcmp(peer->service_name, service) == 0);
    return count;
}

void sonde__connection_steer(struct sonde__connection *connection, const uint8_t *bytes, size_t size) {
    static union { /* one thread */
        struct sonde__steered answer;
        uint8_t bytes[SONDE__STEERED_SIZE_MAX];
    } out;
    struct sonde__services *services = connection->services;
    struct sonde__steer steer;
    bool changed, allowed = connection->uid == 0 || connection->uid == geteuid();
    size_t answer_size = services->env.steering ? sonde_steering_answer(services->env.steering, bytes, size, allowed,
                                                                        &out.answer, &changed)
                                                : 0;
    if (!answer_size) {
        sonde__connection_close(connection);
        return;
    }
    memcpy(&steer, bytes, sizeof steer);
    steer.service[sizeof steer.service - 1] = '\0';
    out.answer.processes = processes_of(services, steer.service);
    if (changed)
        sonde_steering_publish(services->env.steering, services->control);
    if (changed || out.answer.result == SONDE_EREFUSED)
        sonde_agent_log(changed ? SONDE_LOG_INFO : SONDE_LOG_WARN,
                        changed
                            ? "sampling and log levels of services changed by command"
                            : "command to change sampling or log levels refused: not root, nor the agent's own user",
                        "service=%s action=%u ratio=%g severity=%u uid=%u pid=%u", sonde_agent_log_quote(steer.service),
                        steer.action, steer.ratio, steer.severity, connection->uid, connection->pid);
    sonde__connection_send(connection, &out.answer, answer_size, -1);
}
