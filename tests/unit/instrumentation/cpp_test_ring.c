/* SPDX-License-Identifier: Apache-2.0 */
/* The ring's records for a test in C++, which cannot include the library's own headers. */
#include "tests/lib/records.h"

const void *cpp_test_record(size_t *ret_size);

const void *cpp_test_record(size_t *ret_size) {
    const struct sonde__record *record = records_next();
    *ret_size = record ? record->length : 0;
    return record ? record + 1 : NULL;
}
