/* SPDX-License-Identifier: Apache-2.0 */
/* The doorbell: an eventfd of ours that the agent waits on, and the agent's control page that says whether it sleeps.
 * Any thread rings (sonde__doorbell_ring(), ring/thread.h); only the link thread connects and disconnects. */
#ifndef SONDE_LINK_DOORBELL_H
#define SONDE_LINK_DOORBELL_H

#include <stdbool.h>

/** The eventfd to hand over, made if there is none or if the last one was closed behind our back. -1: refused. */
int sonde__doorbell_fd(void);
/** Maps the agent's control page (checked: sealed, large enough, our layout). control_fd is borrowed.
 *  Returns 0, -errno, SONDE_EMALFORMED, SONDE_EVERSION. The doorbell is live from then on. */
int sonde__doorbell_connect(int control_fd);
/** No agent listens any more. The page stays mapped: somebody may be reading it. */
void sonde__doorbell_disconnect(void);
/** In a forked child. */
void sonde__doorbell_forget(void);

#endif
