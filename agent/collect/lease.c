/* SPDX-License-Identifier: Apache-2.0 */
/* A lock of an open file description: it ends with the last descriptor, however its process ends, and works over NFS. It is
 * on the file, not on its name: when the name stands for another file, or for none, what we hold is worth nothing. */
#include "agent/collect/lease.h"
#ifdef SONDE_WITH_KAFKA
#include "agent/collect/lease_kafka.h"
#endif
#include "agent/collect/lease_kubernetes.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef SONDE_WITH_KAFKA
#define WITH_KAFKA true
#else
#define WITH_KAFKA false
#endif

struct sonde__lease {
    const struct sonde_alloc *alloc;
    struct sonde__kubernetes_lease *kubernetes; /* owned; or: */
#ifdef SONDE_WITH_KAFKA
    struct sonde__kafka_lease *kafka; /* owned; both NULL = it is a file */
#endif
    int fd; /* -1 = not open */
    bool held;
    char trouble[160];
    char path[]; /* NUL-terminated */
};

/** One that is no file. */
static int other_create(struct sonde__lease *lease, const struct sonde_collector_env *env, uint64_t interval_ns,
                        char *text, size_t text_size) {
    if (strncmp(env->lease, "kubernetes:", 11) == 0)
        return sonde__kubernetes_lease_create(env->lease + 11, env, interval_ns, &lease->kubernetes, text, text_size);
#ifdef SONDE_WITH_KAFKA
    if (strncmp(env->lease, "kafka:", 6) == 0)
        return sonde__kafka_lease_create(env->lease + 6, env, interval_ns, &lease->kafka, text, text_size);
#endif
    return 0;
}

int sonde__lease_create(const struct sonde_collector_env *env, uint64_t interval_ns, struct sonde__lease **ret_lease,
                        char *error_text, size_t error_text_size) {
    const char *text = env->lease;
    const struct sonde_alloc *alloc = &env->seams->alloc;
    bool kubernetes = strncmp(text, "kubernetes:", 11) == 0, kafka = WITH_KAFKA && strncmp(text, "kafka:", 6) == 0;
    if (!kubernetes && !kafka && (strncmp(text, "file:/", 6) != 0 || !text[6])) {
        (void)snprintf(error_text, error_text_size,
                       "lease: \"%.80s\" is not accepted; use file:/PATH, kubernetes:NAMESPACE/NAME%s", text,
                       WITH_KAFKA ? " or kafka:HOST:PORT/GROUP/TOPIC" : " (this agent is built without Kafka)");
        return SONDE_EINVALID;
    }
    if (!kafka && env->lease_properties && env->lease_properties->count) {
        (void)snprintf(error_text, error_text_size, "lease_properties: for a lease by Kafka only");
        return SONDE_EINVALID;
    }
    size_t size = strlen(text + 5) + 1;
    struct sonde__lease *lease = sonde_alloc_new(alloc, sizeof *lease + size);
    if (!lease)
        return -ENOMEM;
    *lease = (struct sonde__lease){.alloc = alloc, .fd = -1};
    memcpy(lease->path, text + 5, size);
    int error = other_create(lease, env, interval_ns, error_text, error_text_size);
    if (error)
        sonde_alloc_free(alloc, lease);
    else
        *ret_lease = lease;
    return error;
}

static void let_go(struct sonde__lease *lease) {
    if (lease->fd >= 0)
        (void)close(lease->fd); /* and with it the lock */
    lease->fd = -1;
    lease->held = false;
}

void sonde__lease_destroy(struct sonde__lease *lease) {
    if (!lease)
        return;
    let_go(lease);
    sonde__kubernetes_lease_destroy(lease->kubernetes);
#ifdef SONDE_WITH_KAFKA
    sonde__kafka_lease_destroy(lease->kafka);
#endif
    sonde_alloc_free(lease->alloc, lease);
}

/** Whether the file that is open is still the one of that name. */
static bool is_there(const struct sonde__lease *lease) {
    struct stat open_one, named;
    return fstat(lease->fd, &open_one) == 0 && stat(lease->path, &named) == 0 && open_one.st_dev == named.st_dev &&
           open_one.st_ino == named.st_ino;
}

bool sonde__lease_hold(struct sonde__lease *lease, const char **ret_trouble) {
    if (lease->kubernetes)
        return sonde__kubernetes_lease_hold(lease->kubernetes, ret_trouble);
#ifdef SONDE_WITH_KAFKA
    if (lease->kafka)
        return sonde__kafka_lease_hold(lease->kafka, ret_trouble);
#endif
    *ret_trouble = NULL;
    if (lease->fd >= 0 && !is_there(lease))
        let_go(lease);
    if (lease->held)
        return true;
    if (lease->fd < 0)
        lease->fd = open(lease->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (lease->fd >= 0 && fcntl(lease->fd, F_OFD_SETLK, &lock) == 0) {
        lease->held = is_there(lease); /* it may have been replaced since it was opened */
        if (!lease->held)
            let_go(lease);
        return lease->held;
    }
    if (lease->fd < 0 || (errno != EAGAIN && errno != EACCES)) {
        (void)snprintf(lease->trouble, sizeof lease->trouble, "%.100s: %.50s", lease->path, strerror(errno));
        *ret_trouble = lease->trouble;
        let_go(lease);
    }
    return false;
}
