/* SPDX-License-Identifier: Apache-2.0 */
/* kill -9 of a process that writes, at random moments: nothing that it published may be lost or come twice.
 *
 *   crash [KILLS [RECORDS]] [FIGURE...]    KILLS rounds (300), each after at least RECORDS records (10000)
 *
 * Prints the figures crash_lost and crash_twice (tests/bench/README.md); it is a test as well.
 *
 * The parent runs the receiver `services` on a real loop, queue and ledger; the child links libsonde.
 *
 * The rule. A span is owed from the moment that it is started with its number set, in memory that the agent has
 * accepted. Memory is accepted within about a millisecond after it is made (connect, hand over): the first at a
 * process's first span, then one for every 16 threads that live at the same time. What a process writes before that
 * dies with it, for nobody else ever had that memory. The child knows that its memory is accepted when a sonde_flush()
 * that it began later has succeeded: messages on the socket keep their order. Only then it publishes numbers, in a page
 * of shared memory that survives it. After the kill each published number was read exactly once, from a ring or as an
 * open span, with the right contents.
 *
 * Rounds differ in what is going on when the kill comes:
 *   nested   spans up to 8 deep, ring laps              extents  spans of 4 to 20 KiB
 *   threads  threads that start (attach), write a little and end (detach), six at a time
 *   attach   one thread after the other starts and stays, so that new memory is made and handed over all the time
 *   rename   attributes overwritten and names changed, so that bodies are caught in the middle of a move
 * Of an open span everything is checked that was there before the call in which the kill came. */
#include "agent/log.h"
#include "instrumentation/wire/skim.h"
#include "tests/lib/receiver_rig.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sonde/sonde.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, NUMBERS = 4 << 20, DEPTH = 8 };
enum { ATTACHED_MAX = 240, ATTACH_EVERY = 48, ATTACH_SPANS = 8 }; /* 16 memories; one thread in so many spans */
enum mode { NESTED, EXTENTS, THREADED, RENAME, ATTACH, MODES };
static const char *const mode_names[] = {"nested", "extents", "threads", "rename", "attach"};

/* Survives the child. A lane is a sequence of numbers; one thread at a time works in it. */
struct progress {
    _Atomic uint64_t published[THREADS];
    _Atomic uint64_t read[THREADS]; /* by the parent: how far the child may run ahead */
};

struct round {
    struct receiver_rig *rig;
    struct progress *progress;
    uint8_t *seen[THREADS];
    uint64_t items, crashed, unnumbered, wrong, lanes[THREADS];
};

static uint64_t random_state = 88172645463325252u;
static uint64_t random_step(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- the child ---- */

static struct progress *progress;
static enum mode mode;

static void span_open(struct sonde_span *span, unsigned lane) {
    uint64_t number = atomic_load(&progress->published[lane]);
    sonde_span_start(span, SONDE_NAME("work"), NULL);
    sonde_span_set_int64(span, SONDE_KEY("seq"), (int64_t)(number << 3 | lane));
    atomic_store(&progress->published[lane], number + 1);
}

/* The producer's part of the bargain: a full ring drops, so it does not run further ahead than the ring holds. */
static void hold_back(unsigned lane) {
    uint64_t ahead = mode == EXTENTS ? 24 : mode == RENAME ? 600 : 1500; /* half a ring at most */
    if (mode == THREADED) /* the threads of all lanes may follow each other in one region, so in one ring */
        ahead /= THREADS;
    while (atomic_load(&progress->published[lane]) > atomic_load(&progress->read[lane]) + ahead)
        sched_yield();
}

static const char text[4096] = "0123456789abcdef";

static void span_fill(struct sonde_span *span, uint64_t *state) {
    uint64_t random = random_step(state);
    sonde_span_set_string(span, SONDE_KEY("check"), text, 16);
    if (mode == EXTENTS) {
        for (uint64_t n = 1 + random % 5; n > 0; n--) {
            char key[16];
            int size = snprintf(key, sizeof key, "filler%u", (unsigned)n);
            sonde_span_set_string(span, sonde_key_n(key, (size_t)size), text, sizeof text);
        }
    } else if (mode == RENAME) {
        for (uint64_t n = random % 6; n > 0; n--) {
            sonde_span_set_string(span, SONDE_KEY("moving"), text, random_step(state) % 600);
            sonde_span_set_int64(span, SONDE_KEY("behind"), (int64_t)n);
            sonde_span_set_name(span, n % 2 ? SONDE_NAME("work") : SONDE_NAME("work that has a longer name"));
        }
    }
}

static void lane_run(unsigned lane, uint64_t count) {
    struct sonde_span open[DEPTH];
    unsigned depth = 0;
    uint64_t state = 0x9E3779B97F4A7C15u ^ (uint64_t)getpid() << 20 ^ lane;
    for (uint64_t i = 0; i < count || depth > 0; i++) {
        hold_back(lane);
        if (i < count && depth < DEPTH && (depth == 0 || random_step(&state) & 1)) {
            span_open(&open[depth++], lane);
        } else {
            span_fill(&open[depth - 1], &state);
            sonde_span_end(&open[--depth]);
        }
    }
}

static void *thread_main(void *lane) {
    lane_run((unsigned)(uintptr_t)lane, 40);
    return NULL;
}

/* Until the agent has accepted the memory of all regions that this process has attached so far. */
static void accepted(void) {
    struct sonde_span span;
    sonde_span_start(&span, SONDE_NAME("hello"), NULL);
    sonde_span_end(&span);
    while (sonde_flush(1000) != 0)
        sched_yield();
}

static _Atomic bool lane_busy[THREADS];

static void *attached_main(void *lane) {
    unsigned number = (unsigned)(uintptr_t)lane;
    accepted();
    lane_run(number, ATTACH_SPANS);
    atomic_store(&lane_busy[number], false);
    while (pause() != 0) {
    }
    return NULL;
}

/* Lane 0 is this thread's; in the others threads start, one at a time in each, and stay. */
static void attach_run(void) {
    for (unsigned started = 0;; started += started < ATTACHED_MAX) {
        unsigned lane = 1 + started % (THREADS - 1);
        pthread_t thread;
        lane_run(0, ATTACH_EVERY);
        if (started == ATTACHED_MAX || atomic_exchange(&lane_busy[lane], true))
            continue;
        if (pthread_create(&thread, NULL, attached_main, (void *)(uintptr_t)lane) != 0)
            _exit(4);
    }
}

static void child_run(void) {
    if (mode == ATTACH)
        attach_run();
    if (mode != THREADED)
        lane_run(0, UINT64_MAX);
    pthread_t threads[THREADS];
    for (uint64_t round = 0;; round++) {
        for (unsigned i = 0; i < THREADS; i++) {
            if (round && pthread_join(threads[i], NULL) != 0)
                _exit(4);
            if (pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)i) != 0)
                _exit(4);
        }
    }
}

static void child_main(const char *path) {
    (void)setenv("SONDE_AGENT_SOCKET", path, 1);
    accepted();
    child_run();
}

/* ---- the parent ---- */

/* Places of the keys in sonde__span_fields.values. */
enum key { SEQ, CRASHED, CHECK, MOVING, BEHIND, FILLER, KEYS };
static const char *const key_names[KEYS] = {"seq", "sonde.crashed", "check", "moving", "behind", "filler1"};

static bool is_text(const struct sonde__value *value, size_t least, size_t most) {
    return value->type == SONDE__VALUE_STRING && value->size >= least && value->size <= most &&
           memcmp(value->data, text, value->size) == 0;
}
static bool is_absent_or_text(const struct sonde__value *value, size_t least, size_t most) {
    return value->type == SONDE__VALUE_ABSENT || is_text(value, least, most);
}

/* Attributes are set in the order check, filler5..1 or check, moving, behind: what is there tells what else must be. */
static bool attributes_are_whole(const struct sonde__value *values, bool open) {
    bool behind = values[BEHIND].type == SONDE__VALUE_INT, moving = values[MOVING].type != SONDE__VALUE_ABSENT;
    if (behind && (!moving || values[BEHIND].integer < 1 || values[BEHIND].integer > 5))
        return false;
    if (!open || moving || values[FILLER].type != SONDE__VALUE_ABSENT)
        return is_text(&values[CHECK], 16, 16) && is_absent_or_text(&values[MOVING], 0, 599) &&
               is_absent_or_text(&values[FILLER], sizeof text, sizeof text);
    return is_absent_or_text(&values[CHECK], 16, 16);
}

static bool name_is_one_of_ours(const struct sonde__span_fields *f) {
    static const char longer[] = "work that has a longer name";
    size_t size = mode == RENAME && f->name_size > 4 ? sizeof longer - 1 : 4;
    return f->name_size == size && memcmp(f->name, longer, size) == 0;
}

static void on_item(void *user, const struct sonde_record_view *record, const uint8_t *body, size_t size) {
    struct round *round = user;
    struct sonde__skim_keys keys;
    struct sonde__span_fields f;
    sonde__skim_keys_init(&keys);
    for (int i = 0; i < KEYS; i++)
        (void)sonde__skim_keys_add(&keys, key_names[i]);
    round->items++;
    if (record->signal != SONDE_SIGNAL_TRACES || !sonde__span_skim(body, size, &keys, &f)) {
        round->wrong++;
        return;
    }
    bool open = f.values[CRASHED].type == SONDE__VALUE_BOOL;
    round->crashed += open;
    if (f.name_size == 5 && memcmp(f.name, "hello", 5) == 0)
        return;
    round->wrong +=
        !name_is_one_of_ours(&f) || f.end_unix_ns < f.start_unix_ns || !attributes_are_whole(f.values, open);
    if (f.values[SEQ].type != SONDE__VALUE_INT) {
        round->unnumbered += open; /* killed before its number was set */
        round->wrong += !open;
        return;
    }
    uint64_t number = (uint64_t)f.values[SEQ].integer >> 3, lane = (uint64_t)f.values[SEQ].integer & 7;
    if (lane >= THREADS || number >= NUMBERS) {
        round->wrong++;
        return;
    }
    round->seen[lane][number]++;
    round->lanes[lane]++;
    atomic_store(&round->progress->read[lane], round->lanes[lane]);
}

static void take(struct round *round) {
    if (mode == EXTENTS) /* so few fit into a ring that it would mostly wait for the receiver's next look */
        round->rig->ops->drain(round->rig->receiver);
    rig_visit(round->rig, on_item, round);
    rig_release(round->rig);
}

static bool is_gone(void *user) {
    struct round *round = user;
    take(round);
    return rig_peer_count(round->rig) == 0;
}

struct goal {
    struct round *round;
    uint64_t items;
};
static bool is_reached(void *user) {
    struct goal *goal = user;
    take(goal->round);
    return goal->round->items >= goal->items;
}

/* Of spans that had no number yet there is at most one a thread. */
static void count_round(struct round *round, uint64_t *lost, uint64_t *twice) {
    uint64_t missing = 0;
    for (unsigned lane = 0; lane < THREADS; lane++) {
        uint64_t published = atomic_load(&round->progress->published[lane]);
        for (uint64_t i = 0; i < NUMBERS && (i < published || round->seen[lane][i]); i++) {
            missing += i < published && round->seen[lane][i] == 0;
            *twice += round->seen[lane][i] > 1;
        }
        memset(round->seen[lane], 0, published + 2 < NUMBERS ? published + 2 : NUMBERS);
    }
    if (round->unnumbered > (mode == THREADED || mode == ATTACH ? THREADS : 1))
        *twice += round->unnumbered - 1;
    *lost += missing + round->wrong;
}

/* One process, killed. Returns false when the round itself went wrong. */
static bool round_run(struct round *round, uint64_t records, uint64_t *lost, uint64_t *twice) {
    memset(round->progress, 0, sizeof *round->progress);
    round->items = round->crashed = round->unnumbered = round->wrong = 0;
    memset(round->lanes, 0, sizeof round->lanes);
    pid_t pid = fork();
    if (pid == 0) {
        child_main(round->rig->path);
        _exit(0);
    }
    struct goal goal = {round, records};
    bool reached = pid > 0 && rig_until(round->rig, is_reached, &goal);
    for (uint64_t turns = random_step(&random_state) % 4; turns > 0; turns--)
        (void)is_gone(round); /* lets the loop's own time pass, too */
    /* A little more: longer, and the child would only wait for us to read. */
    for (uint64_t spin = random_step(&random_state) % 200000; spin > 0; spin--)
        __asm__ volatile("");
    kill(pid, SIGKILL);
    int status = 0;
    waitpid(pid, &status, 0);
    bool gone = rig_until(round->rig, is_gone, round);
    if (!reached || !gone || !WIFSIGNALED(status))
        fprintf(stderr, "%s: only %llu records, status %x, gone %d\n", mode_names[mode],
                (unsigned long long)round->items, (unsigned)status, gone);
    count_round(round, lost, twice);
    return reached && gone && WIFSIGNALED(status);
}

struct totals {
    uint64_t lost, twice, items, crashed, dropped;
};

/* All rounds. Returns false when one of them went wrong. */
static bool rounds_run(struct round *round, uint64_t kills, uint64_t records, struct totals *totals) {
    bool ran = true;
    for (uint64_t i = 0; i < kills && ran; i++) {
        mode = (enum mode)(i % MODES);
        uint64_t lost = 0, twice = 0;
        ran = round_run(round, records, &lost, &twice);
        totals->lost += lost;
        totals->twice += twice;
        totals->items += round->items;
        totals->crashed += round->crashed;
        if (lost || twice)
            fprintf(stderr, "round %llu (%s): lost %llu twice %llu wrong %llu unnumbered %llu\n", (unsigned long long)i,
                    mode_names[mode], (unsigned long long)lost, (unsigned long long)twice,
                    (unsigned long long)round->wrong, (unsigned long long)round->unnumbered);
    }
    char why[256] = "";
    bool balances = sonde_ledger_balances(round->rig->ledger, NULL, why, sizeof why);
    const struct sonde_ledger_intake *intake = &round->rig->ledger->intake[SONDE_SIGNAL_TRACES];
    totals->dropped = intake->received - intake->appended;
    for (int r = 0; r < SONDE_INTAKE_DROP_COUNT; r++)
        if (intake->dropped[r])
            fprintf(stderr, "dropped for reason %d: %llu\n", r, (unsigned long long)intake->dropped[r]);
    if (!balances || totals->dropped)
        fprintf(stderr, "ledger: %s dropped %llu\n", why, (unsigned long long)totals->dropped);
    return ran && balances && totals->dropped == 0;
}

static void figure_print(const char *name, uint64_t sum, uint64_t kills, uint64_t dropped) {
    printf("{\"bench\":\"%s\",\"median\":%llu,\"unit\":\"records\",\"x_clk\":0,\"runs\":%llu,\"dropped\":%llu}\n", name,
           (unsigned long long)sum, (unsigned long long)kills, (unsigned long long)dropped);
}

/* Numbers are KILLS and RECORDS, other words name figures. Returns false for --list. */
static bool arguments_read(int argc, char **argv, uint64_t numbers[2], bool wanted[2]) {
    static const char *const names[] = {"crash_lost", "crash_twice"};
    int number_count = 0;
    wanted[0] = wanted[1] = true;
    for (int i = 1, named = 0; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            printf("%s\n%s\n", names[0], names[1]);
            return false;
        }
        if (*argv[i] >= '0' && *argv[i] <= '9') {
            if (number_count < 2)
                numbers[number_count++] = strtoull(argv[i], NULL, 10);
            continue;
        }
        if (!named++)
            wanted[0] = wanted[1] = false;
        for (int n = 0; n < 2; n++)
            wanted[n] = wanted[n] || strcmp(argv[i], names[n]) == 0;
    }
    return true;
}

int main(int argc, char **argv) {
    static struct receiver_rig rig;
    struct round round = {.rig = &rig};
    struct totals totals = {0};
    uint64_t numbers[2] = {300, 10000};
    bool wanted[2];
    if (!arguments_read(argc, argv, numbers, wanted))
        return 0;
    progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    round.progress = progress;
    for (unsigned i = 0; i < THREADS; i++)
        round.seen[i] = calloc(1, NUMBERS);
    if (progress == MAP_FAILED || !round.seen[THREADS - 1] || !rig_start(&rig, 256u << 20, true))
        return 1;
    sonde_agent_log_level_set(SONDE_LOG_WARN);
    bool ran = rounds_run(&round, numbers[0], numbers[1], &totals);
    rig_stop(&rig);
    for (unsigned i = 0; i < THREADS; i++)
        free(round.seen[i]);
    fprintf(stderr, "%llu kills, %llu records, %llu of them open spans\n", (unsigned long long)numbers[0],
            (unsigned long long)totals.items, (unsigned long long)totals.crashed);
    if (wanted[0])
        figure_print("crash_lost", totals.lost, numbers[0], totals.dropped);
    if (wanted[1])
        figure_print("crash_twice", totals.twice, numbers[0], totals.dropped);
    return ran && totals.lost == 0 && totals.twice == 0 ? 0 : 1;
}
