/* SPDX-License-Identifier: Apache-2.0 */
/* Where the socket for services is, and that only one agent has it. */
#ifndef SONDE_AGENT_PLACE_H
#define SONDE_AGENT_PLACE_H

#include <stddef.h>

#define SONDE__SOCKET_PATH_MAX 108u /* of struct sockaddr_un, its NUL included */

/** wanted: the configured path, or "" for the first of /run/sonde, $XDG_RUNTIME_DIR/sonde and /tmp/sonde-UID that can
 * be made and written to. Makes the directory (0755, one level) and locks "PATH.lock". ret_path  SONDE__SOCKET_PATH_MAX
 * bytes.    ret_lock_fd  owned; the lock goes when it is closed. Returns 0, or an error with a sentence in error_text.
 */
int sonde__place_take(const char *wanted, char *ret_path, int *ret_lock_fd, char *error_text, size_t error_text_size);

#endif
