/* SPDX-License-Identifier: Apache-2.0 */
/* The container id, which the kernel does not know but whose makers put into paths:
 *   cgroup v1    12:memory:/docker/<id>    /kubepods/besteffort/pod<uid>/<id>    .../docker-<id>.scope
 * .../crio-<id>.scope mountinfo    ... /var/lib/docker/containers/<id>/hostname /etc/hostname ...      (cgroup v2 shows
 * only "/")
 *                ... /overlay-containers/<id>/userdata/hostname ...; /sandboxes/<id>/ is the pod's, not ours
 * An id is 64 hex digits, a whole path component but for a prefix ending in '-' and a suffix starting with '.'. */
#include "instrumentation/resource/resource.h"

#include <string.h>

#define ID_SIZE 64u

static bool is_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

static size_t hex_run(const char *text) {
    size_t n = 0;
    while (n <= ID_SIZE && is_hex(text[n]))
        n++;
    return n;
}

/* One line of cgroup: the id is in the last component. mountinfo: in any, of a line about a hostname file. */
static bool find_in_line(const char *line, size_t size, char *ret_id) {
    bool mount = memmem(line, size, "hostname", strlen("hostname")) != NULL;
    for (size_t i = 1; i + ID_SIZE <= size; i++) {
        if ((line[i - 1] != '/' && line[i - 1] != '-') || hex_run(line + i) != ID_SIZE)
            continue;
        char after = i + ID_SIZE < size ? line[i + ID_SIZE] : 0;
        static const char sandbox[] = "sandboxes/";
        if (i >= sizeof sandbox - 1 && memcmp(line + i - (sizeof sandbox - 1), sandbox, sizeof sandbox - 1) == 0)
            continue;
        if (mount ? after != '/' : after != 0 && after != '.')
            continue;
        memcpy(ret_id, line + i, ID_SIZE);
        ret_id[ID_SIZE] = 0;
        return true;
    }
    return false;
}

bool sonde__container_id_find(const char *text, char ret_id[65]) {
    while (*text) {
        const char *end = strchrnul(text, '\n');
        if (find_in_line(text, (size_t)(end - text), ret_id))
            return true;
        text = *end ? end + 1 : end;
    }
    return false;
}
