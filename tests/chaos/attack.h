/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to be a bad neighbour of an agent, one process each. */
#ifndef SONDE_TESTS_CHAOS_ATTACK_H
#define SONDE_TESTS_CHAOS_ATTACK_H

#include <stdint.h>

enum attack {
    /* with memory that was accepted */
    ATTACK_POSITIONS, /* head, base and tail of its rings at random */
    ATTACK_RECORDS,   /* lengths and bodies at random */
    ATTACK_PAGES,     /* random bytes all over its memory */
    ATTACK_MESSAGES,  /* random packets and descriptors */
    ATTACK_SPAM,      /* valid spans as fast as it goes: allowed, it may only cost itself */
    /* on the way in */
    ATTACK_FILES,       /* what is no memory: pipe, socket, device, unsealed, of a wrong size, with a lying header */
    ATTACK_GREETINGS,   /* HELLOs too large, too short, with lying sizes and resources */
    ATTACK_CONNECTIONS, /* as many silent connections as it gets */
    ATTACK_RECONNECTS,  /* connect, HELLO, close, without end */
    ATTACK_HALVES,      /* packets cut in two, one half now and then, never a whole one */
    ATTACK_RIGHTS,      /* descriptors by the hundred on every packet */
    ATTACKS,
};
extern const char *const attack_names[ATTACKS];

enum { ATTACK_EVICTED = 42, ATTACK_IGNORED = 43, ATTACK_FAILED = 1 };

/** Attacks the agent at a socket for some milliseconds, or until it is thrown out. seed: not 0.
 *  Returns ATTACK_EVICTED, ATTACK_IGNORED, or ATTACK_FAILED when it could not begin. */
int attack_run(const char *path, enum attack attack, uint64_t milliseconds, uint64_t seed);

#endif
