/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the edit distance (insert, delete, replace, swap of neighbours) over short names. */
#include "agent/config/bind.h"
#include <string.h>

#define NAME_SIZE_MAX 64u

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t distance(const char *a, const char *b) {
    size_t rows[3][NAME_SIZE_MAX + 1], a_size = strlen(a), b_size = strlen(b);
    if (a_size > NAME_SIZE_MAX || b_size > NAME_SIZE_MAX)
        return NAME_SIZE_MAX;
    for (size_t j = 0; j <= b_size; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t replace = above[j - 1] + (a[i - 1] != b[j - 1]);
            row[j] = smaller(replace, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = smaller(row[j], before[j - 2] + 1);
        }
    }
    return rows[a_size % 3][b_size];
}

const char *sonde__nearest(const char *text, const char *const *names, size_t count) {
    size_t best = NAME_SIZE_MAX, size = strlen(text);
    const char *name = NULL;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(text, names[i]);
        if (d < best) {
            best = d;
            name = names[i];
        }
    }
    size_t limit = size / 3 > 2 ? size / 3 : 2; /* a third of the letters wrong is another word */
    return best <= limit && best < size ? name : NULL;
}
