/* SPDX-License-Identifier: Apache-2.0 */
/* The specification's checklist: environment variables. Each test is named after its item in items.tsv. */
#include "tests/checklist/checklist.h"

int main(void) {
    return cmocka_run_group_tests(((const struct CMUnitTest[]){{0}}), NULL, NULL);
}
