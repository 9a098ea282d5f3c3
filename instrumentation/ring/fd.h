/* SPDX-License-Identifier: Apache-2.0 */
/* File descriptors inside somebody else's program. Three dangers, one remedy each:
 *   - a program that starts with 0, 1 or 2 closed would print into our memory: ours are moved to high numbers;
 *   - a daemon that closes everything it did not open, and opens its own files at the same numbers: we remember which
 *     file ours was and never read, write or close another;
 *   - exec: all are close-on-exec.
 * An all-zero struct is not valid; use SONDE__FD_NONE. */
#ifndef SONDE_RING_FD_H
#define SONDE_RING_FD_H

#include <stdbool.h>
#include <stdint.h>

struct sonde__fd {
    int fd; /* -1 = none */
    uint64_t device, inode;
    int64_t event_id; /* of an eventfd, whose inode is everybody's; -1 = unknown */
};
#define SONDE__FD_NONE ((struct sonde__fd){.fd = -1, .event_id = -1})

/** Takes fd (closed on failure), moves it to a high number, and remembers its identity.
 *  Returns the result; .fd is -1 when fd was. */
struct sonde__fd sonde__fd_take(int fd);
/** True while the number still means the file it was made for. One fstat(); an eventfd is told from other anonymous
 *  files only by sonde__fd_close(), which must not err. */
bool sonde__fd_is_ours(const struct sonde__fd *file);
/** Closes it if it is still ours, and sets it to none. */
void sonde__fd_close(struct sonde__fd *file);

/** Fills with random bytes: getrandom(), or what is left of time, addresses and ids when that is refused. */
void sonde__random_fill(void *bytes, uint32_t size);

#endif
