/* SPDX-License-Identifier: Apache-2.0 */
/* The unix socket that services find: its place, its permissions, and a stale one of an agent before us. */
#ifndef SONDE_AGENT_RECEIVE_LISTEN_H
#define SONDE_AGENT_RECEIVE_LISTEN_H

#include <stddef.h>
#include <sys/types.h>

/** Listens (SOCK_SEQPACKET, non-blocking).
 *  path  NUL-terminated, borrowed; its directory is made when it is not there (0755).
 *  mode  permissions, octal, NUL-terminated, borrowed.
 *  ret_inode  of the socket, for the close.   ret_fd  owned.
 *  Returns 0; SONDE_EINVALID, -EADDRINUSE (another agent answers there), -EEXIST, -errno; then error_text says which
 * and why. */
int sonde__listen(const char *path, const char *mode, ino_t *ret_inode, int *ret_fd, char *error_text,
                  size_t error_text_size);
/** Closes, and removes the socket when it is still ours. fd -1 is fine. */
void sonde__listen_close(int fd, const char *path, ino_t inode);

#endif
