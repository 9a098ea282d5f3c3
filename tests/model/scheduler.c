/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/model/scheduler.h"
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define DEPTH_MAX  1024u
#define STACK_SIZE (64u << 10)

struct operation {
    const volatile void *word;
    bool writes;
};

/* A place in the tree of orders: who could go on, who did, and who need not (sets are bits). */
struct node {
    unsigned enabled, asleep, done, chosen;
    struct operation next[MODEL_THREADS_MAX];
};

bool model_torn;

static struct {
    const struct model *model;
    struct node nodes[DEPTH_MAX];
    unsigned depth; /* nodes that are decided */
    ucontext_t scheduler, threads[MODEL_THREADS_MAX];
    unsigned char stacks[MODEL_THREADS_MAX][STACK_SIZE] __attribute__((aligned(64)));
    struct operation next[MODEL_THREADS_MAX];
    unsigned running, alive;
    struct model_result result;
} m;

unsigned model_self(void) {
    return m.running;
}

void model_violated(const char *text) {
    if (!m.result.violation)
        m.result.violation = text;
}

void model_operation(const volatile void *word, bool writes) {
    const volatile unsigned char *byte = word;
    const unsigned char *watched = m.model->watched;
    if (m.running == MODEL_THREADS_MAX || byte < watched || byte >= watched + m.model->watched_size)
        return;
    m.next[m.running] = (struct operation){word, writes};
    if (swapcontext(&m.threads[m.running], &m.scheduler))
        abort();
}

static void thread_main(void) {
    m.model->thread(m.running);
    m.alive &= ~(1u << m.running);
    (void)setcontext(&m.scheduler);
}

/* Lets a thread make its operation and go on to the next. */
static void resume(unsigned thread) {
    m.running = thread;
    if (swapcontext(&m.scheduler, &m.threads[thread]))
        abort();
    m.running = MODEL_THREADS_MAX;
}

static void start(void) {
    m.running = MODEL_THREADS_MAX;
    m.model->begin();
    m.alive = (1u << m.model->thread_count) - 1;
    for (unsigned i = 0; i < m.model->thread_count; i++) {
        if (getcontext(&m.threads[i]))
            abort();
        m.threads[i].uc_stack.ss_sp = m.stacks[i];
        m.threads[i].uc_stack.ss_size = STACK_SIZE;
        m.threads[i].uc_link = NULL;
        makecontext(&m.threads[i], thread_main, 0);
        resume(i);
    }
}

static bool is_independent(const struct operation *a, const struct operation *b) {
    return a->word != b->word || (!a->writes && !b->writes);
}

/* The next place; false when all who could go on are asleep: this order was run already, but for its names. */
static bool node_make(unsigned depth) {
    struct node *node = &m.nodes[depth];
    *node = (struct node){.enabled = m.alive};
    for (unsigned i = 0; i < m.model->thread_count; i++)
        node->next[i] = m.next[i];
    if (depth) {
        const struct node *parent = node - 1;
        for (unsigned i = 0; i < m.model->thread_count; i++)
            if ((parent->asleep | parent->done) >> i & 1u &&
                is_independent(&parent->next[i], &parent->next[parent->chosen]))
                node->asleep |= 1u << i;
    }
    unsigned candidates = node->enabled & ~node->asleep;
    if (!candidates)
        return false;
    node->chosen = (unsigned)__builtin_ctz(candidates);
    return true;
}

/* One run along the decided nodes and on from there. */
static void run(void) {
    start();
    for (unsigned depth = 0; m.alive && !m.result.violation; depth++) {
        if (depth == DEPTH_MAX) {
            model_violated("it ends");
            return;
        }
        if (depth == m.depth) {
            if (!node_make(depth)) {
                m.result.cut++;
                return;
            }
            m.depth++;
        }
        resume(m.nodes[depth].chosen);
        m.result.operations++;
        m.model->step();
    }
    m.result.runs++;
    if (!m.result.violation)
        m.model->end();
}

/* Decides otherwise where it was decided last. False: there is no other order. */
static bool backtrack(void) {
    for (; m.depth; m.depth--) {
        struct node *node = &m.nodes[m.depth - 1];
        node->done |= 1u << node->chosen;
        unsigned candidates = node->enabled & ~node->asleep & ~node->done;
        if (candidates) {
            node->chosen = (unsigned)__builtin_ctz(candidates);
            return true;
        }
    }
    return false;
}

struct model_result model_explore(const struct model *model, uint64_t runs_max) {
    m.model = model;
    m.depth = 0;
    m.result = (struct model_result){0};
    do
        run();
    while (!m.result.violation && m.result.runs < runs_max && backtrack());
    return m.result;
}
