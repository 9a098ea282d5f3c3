/* SPDX-License-Identifier: Apache-2.0 */
#include "instrumentation/link/doorbell.h"

#include "instrumentation/ring/process.h"
#include "instrumentation/ring/steering.h"
#include <errno.h>
#include <fcntl.h>
#include <sonde/err.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static struct sonde__fd bell = {.fd = -1, .event_id = -1};
static _Atomic bool listening;
static _Atomic uint64_t rung; /* the sleep we rang for last; sleeps are odd, so 0 is none */

void sonde__doorbell_ring(void) {
    if (!atomic_load_explicit(&listening, memory_order_acquire))
        return;
    /* The record's head must be out before we look whether the agent sleeps, as it looks at heads after it said so. */
    atomic_thread_fence(memory_order_seq_cst);
    struct sonde__control *page = atomic_load_explicit(&sonde__control_page, memory_order_relaxed);
    uint64_t sleep = atomic_load_explicit(&page->sleep_sequence, memory_order_acquire);
    uint64_t last = atomic_load_explicit(&rung, memory_order_relaxed);
    if (!(sleep & 1u) || sleep == last || !atomic_compare_exchange_strong(&rung, &last, sleep))
        return;
    const int saved_errno = errno;
    const uint64_t one = 1;
    if (sonde__fd_is_ours(&bell) && write(bell.fd, &one, sizeof one) == (ssize_t)sizeof one) {
        struct sonde__process *process = atomic_load_explicit(&sonde__process_page, memory_order_acquire);
        if (process)
            atomic_fetch_add_explicit(&process->doorbells, 1, memory_order_relaxed);
    }
    errno = saved_errno;
}

int sonde__doorbell_fd(void) {
    if (!sonde__fd_is_ours(&bell))
        bell = sonde__fd_take(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    return bell.fd;
}

/* Reads the page's head before anybody else does. */
static int control_check(int control_fd, size_t *ret_size) {
    const int needed = F_SEAL_SHRINK | F_SEAL_GROW; /* so that it cannot shrink under our feet (SIGBUS) */
    struct sonde__control head;
    struct stat st;
    int seals = fcntl(control_fd, F_GET_SEALS);
    if (seals < 0 || (seals & needed) != needed || fstat(control_fd, &st) ||
        pread(control_fd, &head, sizeof head, 0) != (ssize_t)sizeof head || head.magic != SONDE__MAGIC)
        return SONDE_EMALFORMED;
    if (head.layout_major != SONDE__LAYOUT_MAJOR)
        return SONDE_EVERSION;
    *ret_size = st.st_size >= (off_t)SONDE__CONTROL_SIZE ? SONDE__CONTROL_SIZE : SONDE__PAGE;
    return 0;
}

/* Over the old page in one step, so that a reader meets one or the other. What an older agent's memory does not have is
 * zeros: there are no tables. */
static int control_map(int control_fd, size_t size) {
    uint8_t *place = (uint8_t *)atomic_load_explicit(&sonde__control_page, memory_order_relaxed);
    if (!place || size < SONDE__CONTROL_SIZE) {
        void *rest = place ? place + size : NULL;
        size_t rest_size = place ? SONDE__CONTROL_SIZE - size : SONDE__CONTROL_SIZE;
        void *at = mmap(rest, rest_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | (place ? MAP_FIXED : 0), -1, 0);
        if (at == MAP_FAILED)
            return -errno;
        place = place ? place : at;
    }
    if (mmap(place, size, PROT_READ, MAP_SHARED | MAP_FIXED, control_fd, 0) == MAP_FAILED)
        return -errno;
    atomic_store_explicit(&sonde__control_page, (struct sonde__control *)(void *)place, memory_order_release);
    return 0;
}

int sonde__doorbell_connect(int control_fd) {
    size_t size;
    int error = control_check(control_fd, &size);
    if (!error)
        error = control_map(control_fd, size);
    if (error)
        return error;
    atomic_store_explicit(&rung, 0, memory_order_relaxed);
    atomic_store_explicit(&listening, true, memory_order_release);
    return 0;
}

void sonde__doorbell_disconnect(void) {
    atomic_store_explicit(&listening, false, memory_order_release);
}

void sonde__doorbell_forget(void) {
    sonde__doorbell_disconnect();
    sonde__fd_close(&bell);
}
