/* SPDX-License-Identifier: Apache-2.0 */
/* Producers that lie, beside one that does not.
 *
 *   hostile [SECONDS]     30 by default
 *
 * The receiver runs in this process, with a healthy service made by hand. Hostile ones are child processes, three at a
 * time, each with one attack (attack.h) until it is evicted, or its second is over.
 * Holds when: the receiver lives, the healthy service lost nothing and got each record in once, those who broke the
 * rules were evicted, and the ledger balances. */
#include "agent/log.h"
#include "tests/chaos/attack.h"
#include "tests/lib/peer_fake.h"
#include "tests/lib/receiver_rig.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOSTILE = 3, HEALTHY_MAX = 4 << 20 };

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct healthy {
    struct receiver_rig rig;
    struct peer_fake peer;
    uint64_t seq, seen, twice, refused;
    uint8_t *marks;
};

static void on_item(void *user, const struct sonde_record_view *record, const uint8_t *body, size_t size) {
    struct healthy *h = user;
    if (record->resource.size < 20 || !memmem(record->resource.data, record->resource.size, "healthy", 7))
        return;
    int64_t seq = peer_fake_seq(body, size, false);
    if (seq < 0 || seq >= HEALTHY_MAX || h->marks[seq]++)
        h->twice++;
    h->seen++;
}

static bool all_seen(void *user) {
    struct healthy *h = user;
    rig_visit(&h->rig, on_item, h);
    rig_release(&h->rig);
    return h->seen >= h->seq;
}

static bool healthy_is_in(void *user) {
    struct healthy *h = user;
    uint8_t message[SONDE__MESSAGE_SIZE_MAX];
    int type = peer_fake_receive(&h->peer, message, sizeof message);
    if (type == SONDE__WELCOME)
        peer_fake_hand_over(&h->peer);
    return type == SONDE__ACCEPT;
}

static void healthy_write(struct healthy *h) {
    uint8_t body[256];
    for (int i = 0; i < 50 && h->seq < HEALTHY_MAX; i++) {
        bool done = peer_fake_commit(&h->peer, 0, SONDE__RECORD_SPAN, 0, body, peer_fake_span(body, h->seq));
        h->seq += done;
        h->refused += !done; /* the ring is full: the receiver does not keep up */
    }
}

struct crowd {
    pid_t pids[HOSTILE];
    enum attack ways[HOSTILE];
    unsigned started, evicted[ATTACKS], other[ATTACKS];
};

static void crowd_start(struct crowd *crowd, unsigned i, const char *path) {
    crowd->ways[i] = (enum attack)(crowd->started++ % ATTACKS);
    crowd->pids[i] = fork();
    if (crowd->pids[i] == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGPIPE, SIG_IGN);
        _exit(attack_run(path, crowd->ways[i], 1000, crowd->started * 0x9E3779B97F4A7C15u | 1));
    }
}

/* Replaces those that ended. */
static void crowd_look(struct crowd *crowd, const char *path, bool replace) {
    for (unsigned i = 0; i < HOSTILE; i++) {
        int status;
        if (crowd->pids[i] <= 0 || waitpid(crowd->pids[i], &status, WNOHANG) != crowd->pids[i])
            continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == ATTACK_EVICTED)
            crowd->evicted[crowd->ways[i]]++;
        else
            crowd->other[crowd->ways[i]]++;
        crowd->pids[i] = 0;
        if (replace)
            crowd_start(crowd, i, path);
    }
}

static bool crowd_is_over(void *user) {
    struct crowd *crowd = user;
    crowd_look(crowd, NULL, false);
    for (unsigned i = 0; i < HOSTILE; i++) {
        if (crowd->pids[i] > 0)
            return false;
    }
    return true;
}

static int report(struct healthy *h, const struct crowd *crowd) {
    char text[256] = "";
    int bad = 0;
    static const bool must[ATTACKS] = {
        [ATTACK_POSITIONS] = true, [ATTACK_RECORDS] = true, [ATTACK_MESSAGES] = true, [ATTACK_FILES] = true};
    for (int way = 0; way < ATTACKS; way++) {
        printf("%-12s evicted %u, not %u\n", attack_names[way], crowd->evicted[way], crowd->other[way]);
        if (must[way] && crowd->other[way] + crowd->evicted[way] > 0 && crowd->evicted[way] == 0)
            bad = printf("FAIL: nobody was evicted for this\n");
        if (way == ATTACK_SPAM && crowd->evicted[way])
            bad = printf("FAIL: evicted for keeping the rules\n");
    }
    if (!sonde_ledger_balances(h->rig.ledger, h->rig.queue, text, sizeof text))
        bad = printf("FAIL: %s\n", text);
    if (h->seen != h->seq || h->twice || h->refused)
        bad = printf("FAIL: the healthy service was harmed\n");
    printf("healthy    wrote %llu, seen %llu, twice %llu, ring full %llu\n", (unsigned long long)h->seq,
           (unsigned long long)h->seen, (unsigned long long)h->twice, (unsigned long long)h->refused);
    return bad ? 1 : 0;
}

int main(int argc, char **argv) {
    uint64_t seconds = argc > 1 ? strtoull(argv[1], NULL, 10) : 30;
    static struct healthy h;
    static struct crowd crowd;
    h.marks = calloc(1, HEALTHY_MAX);
    if (!h.marks || !peer_fake_init(&h.peer) || !rig_start(&h.rig, 256u << 20, true))
        return 1;
    peer_fake_attach(&h.peer, 0);
    if (!peer_fake_connect(&h.peer, h.rig.path, "healthy") || !rig_until(&h.rig, healthy_is_in, &h))
        return 1;
    sonde_agent_log_level_set(SONDE_LOG_ERROR); /* it has much to say about them */
    for (unsigned i = 0; i < HOSTILE; i++)
        crowd_start(&crowd, i, h.rig.path);
    for (uint64_t end = now_ns() + seconds * 1000000000u; now_ns() < end;) {
        healthy_write(&h);
        rig_run(&h.rig, 2);
        (void)all_seen(&h);
        crowd_look(&crowd, h.rig.path, true);
    }
    bool over = rig_until(&h.rig, crowd_is_over, &crowd) && rig_until(&h.rig, all_seen, &h);
    int status = report(&h, &crowd);
    rig_stop(&h.rig);
    peer_fake_deinit(&h.peer);
    free(h.marks);
    return over ? status : 1;
}
