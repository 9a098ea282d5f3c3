/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's records for a test in C++, which cannot include the library's own headers. */
#include "instrumentation/link/puller.h"
#include "tests/lib/records.h"

const void *cpp_test_record(size_t *ret_size);
void cpp_test_patience(void);

/* A loaded machine may take longer than shutdown waits for callbacks. */
void cpp_test_patience(void) {
    sonde__puller_finish_ms = 20000;
}

const void *cpp_test_record(size_t *ret_size) {
    const struct sonde__record *record = records_next();
    *ret_size = record ? record->length : 0;
    return record ? record + 1 : NULL;
}
