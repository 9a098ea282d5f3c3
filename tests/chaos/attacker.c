/* SPDX-License-Identifier: Apache-2.0 */
/* One attack on an agent, for hostile_agent.py.
 *
 *   attacker SOCKET ATTACK MILLISECONDS SEED     exits with enum attack's ATTACK_EVICTED or ATTACK_IGNORED
 *   attacker --list                              names of the attacks */
#include "tests/chaos/attack.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (int i = 0; i < ATTACKS; i++)
            puts(attack_names[i]);
        return 0;
    }
    if (argc != 5)
        return 2;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < ATTACKS; i++) {
        if (strcmp(argv[2], attack_names[i]) == 0)
            return attack_run(argv[1], (enum attack)i, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10) | 1);
    }
    return 2;
}
