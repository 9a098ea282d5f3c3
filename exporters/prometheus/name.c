/* SPDX-License-Identifier: Apache-2.0 */
/* A name is a list of tokens: what stands between characters that Prometheus does not take, and underscores. Unit words
 * are added when no token says them already; "total" and "ratio" move to the end. */
#include "exporters/prometheus/name.h"

struct unit_word {
    const char *unit, *word;
};
static const struct unit_word unit_words[] = {
    {"d", "days"},          {"h", "hours"},
    {"min", "minutes"},     {"s", "seconds"},
    {"ms", "milliseconds"}, {"us", "microseconds"},
    {"ns", "nanoseconds"},  {"By", "bytes"},
    {"KiBy", "kibibytes"},  {"MiBy", "mebibytes"},
    {"GiBy", "gibibytes"},  {"TiBy", "tibibytes"},
    {"KBy", "kilobytes"},   {"kBy", "kilobytes"},
    {"MBy", "megabytes"},   {"GBy", "gigabytes"},
    {"TBy", "terabytes"},   {"m", "meters"},
    {"V", "volts"},         {"A", "amperes"},
    {"J", "joules"},        {"W", "watts"},
    {"g", "grams"},         {"Cel", "celsius"},
    {"Hz", "hertz"},        {"1", ""},
    {"%", "percent"},
};
static const struct unit_word per_words[] = {
    {"s", "second"}, {"m", "minute"}, {"h", "hour"}, {"d", "day"}, {"w", "week"}, {"mo", "month"}, {"y", "year"},
};

static bool is_token(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':';
}

static bool next_token(struct sonde_string text, size_t *at, struct sonde_string *ret_token) {
    while (*at < text.size && !is_token((unsigned char)text.data[*at]))
        (*at)++;
    size_t start = *at;
    while (*at < text.size && is_token((unsigned char)text.data[*at]))
        (*at)++;
    *ret_token = (struct sonde_string){text.data + start, *at - start};
    return ret_token->size > 0;
}

static bool equals(struct sonde_string a, const char *b) {
    return a.size == strlen(b) && memcmp(a.data, b, a.size) == 0;
}

/* The word for one side of a unit: from a table, or the unit itself; nothing for what has {braces}. */
static struct sonde_string word_for(struct sonde_string unit, const struct unit_word *words, size_t count) {
    while (unit.size && unit.data[0] == ' ') {
        unit.data++;
        unit.size--;
    }
    while (unit.size && unit.data[unit.size - 1] == ' ')
        unit.size--;
    if (!unit.size || memchr(unit.data, '{', unit.size) || memchr(unit.data, '}', unit.size))
        return (struct sonde_string){"", 0};
    for (size_t i = 0; i < count; i++)
        if (equals(unit, words[i].unit))
            return (struct sonde_string){words[i].word, strlen(words[i].word)};
    return unit;
}

static bool has_token(const char *name, size_t size, const char *token, size_t token_size) {
    struct sonde_string text = {name, size}, found;
    for (size_t at = 0; next_token(text, &at, &found);)
        if (found.size == token_size && memcmp(found.data, token, token_size) == 0)
            return true;
    return false;
}

/* Appends the tokens of text joined by _, behind what is there from `start` on. skip: a token left out, or NULL. */
static void append_tokens(struct buffer *to, size_t start, struct sonde_string text, const char *skip) {
    struct sonde_string token;
    for (size_t at = 0; next_token(text, &at, &token);) {
        if (skip && equals(token, skip))
            continue;
        if (to->size > start)
            buffer_text(to, "_");
        buffer_put(to, token.data, token.size);
    }
}

static void unit_words_of(struct sonde_string unit, struct sonde_string *ret_word, struct sonde_string *ret_per) {
    const char *slash = unit.size ? memchr(unit.data, '/', unit.size) : NULL;
    struct sonde_string main_unit = unit, per_unit = {"", 0};
    if (slash) {
        main_unit.size = (size_t)(slash - unit.data);
        per_unit = (struct sonde_string){slash + 1, unit.size - main_unit.size - 1};
    }
    *ret_word = word_for(main_unit, unit_words, sizeof unit_words / sizeof unit_words[0]);
    *ret_per = word_for(per_unit, per_words, sizeof per_words / sizeof per_words[0]);
}

static void append_unit(struct buffer *to, size_t start, struct sonde_string unit) {
    struct sonde_string word, per;
    unit_words_of(unit, &word, &per);
    size_t end = to->size;
    if (word.size && !to->failed && !has_token(to->data + start, end - start, word.data, word.size))
        append_tokens(to, start, word, NULL);
    if (per.size &&
        !to->failed) { /* even where the name says so already: the translator compares it with whole tokens */
        struct sonde_string token;
        size_t at = 0;
        if (next_token(per, &at, &token)) {
            buffer_text(to, "_per");
            append_tokens(to, start, per, NULL);
        }
    }
}

static bool tokens_name(struct buffer *to, struct sonde_string name, struct sonde_string unit,
                        enum sonde_instrument_kind kind) {
    size_t start = to->size, at = 0;
    struct sonde_string token;
    if (!next_token(name, &at, &token))
        return false;
    if (token.data[0] >= '0' && token.data[0] <= '9') {
        buffer_text(to, "_");
        start++;
    }
    bool is_ratio = kind == SONDE_GAUGE && equals(unit, "1");
    append_tokens(to, start, name, kind == SONDE_COUNTER ? "total" : is_ratio ? "ratio" : NULL);
    append_unit(to, start, unit);
    if (kind == SONDE_COUNTER)
        append_tokens(to, start, (struct sonde_string){"total", 5}, NULL);
    else if (is_ratio)
        append_tokens(to, start, (struct sonde_string){"ratio", 5}, NULL);
    return !to->failed && to->size > start;
}

/* Runs of what Prometheus does not take are one underscore each, those at the ends none; underscores stay. */
static bool escaped_name(struct buffer *to, struct sonde_string name) {
    size_t start = to->size;
    bool good = false, gap = false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];
        if (!is_token((unsigned char)c) && c != '_') {
            gap = to->size > start;
            continue;
        }
        if (to->size == start && c >= '0' && c <= '9')
            buffer_char(to, '_');
        if (gap)
            buffer_char(to, '_');
        gap = false;
        good |= c != '_';
        buffer_char(to, c);
    }
    bool is_same = to->size - start == name.size; /* then even __ is taken */
    return !to->failed && to->size > start && (good || is_same);
}

static bool ends_with(struct sonde_string name, struct sonde_string end) {
    return name.size >= end.size && memcmp(name.data + name.size - end.size, end.data, end.size) == 0;
}

/* Without a suffix and the character before it, when there is more. */
static struct sonde_string trimmed(struct sonde_string name, struct sonde_string end) {
    if (ends_with(name, end) && name.size > end.size + 1)
        name.size -= end.size + 1;
    return name;
}

/* The name as it is, and suffixes: unit words are put behind it when it does not end with them, others move there. */
static bool suffixed_name(struct buffer *to, struct sonde_string name, struct sonde_string unit,
                          enum sonde_instrument_kind kind) {
    static const struct sonde_string total = {"total", 5}, ratio = {"ratio", 5};
    char per[80] = "";
    struct sonde_string word, per_word;
    bool is_ratio = kind == SONDE_GAUGE && equals(unit, "1");
    unit_words_of(unit, &word, &per_word);
    if (!name.size)
        return false;
    name = is_ratio ? trimmed(name, ratio) : kind == SONDE_COUNTER ? trimmed(name, total) : name;
    struct sonde_string per_suffix = {per, 0};
    if (per_word.size && per_word.size < sizeof per - 4) {
        memcpy(per, "per_", 4);
        memcpy(per + 4, per_word.data, per_word.size);
        per_suffix.size = 4 + per_word.size;
        name = trimmed(name, per_suffix);
    }
    buffer_put(to, name.data, name.size);
    const struct sonde_string parts[] = {word.size && !ends_with(name, word) ? word : (struct sonde_string){"", 0},
                                         per_suffix,
                                         kind == SONDE_COUNTER ? total
                                         : is_ratio            ? ratio
                                                               : (struct sonde_string){"", 0}};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        buffer_put(to, "_", parts[i].size > 0);
        buffer_put(to, parts[i].data, parts[i].size);
    }
    return !to->failed;
}

bool sonde_prometheus_metric_name(struct buffer *to, struct sonde_string name, struct sonde_string unit,
                                  enum sonde_instrument_kind kind, enum sonde_prometheus_strategy strategy) {
    size_t start = to->size;
    bool good;
    switch (strategy) {
    case SONDE_PROMETHEUS_UNDERSCORE_WITHOUT_SUFFIXES:
        good = escaped_name(to, name);
        break;
    case SONDE_PROMETHEUS_UTF8_WITH_SUFFIXES:
        good = suffixed_name(to, name, unit, kind);
        break;
    case SONDE_PROMETHEUS_NO_TRANSLATION:
        buffer_put(to, name.data, name.size);
        good = name.size && !to->failed;
        break;
    case SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES:
    default:
        good = tokens_name(to, name, unit, kind);
    }
    if (!good)
        to->size = start;
    return good;
}

static bool plain_label(struct buffer *to, const char *name, size_t size) {
    bool good = false, underscore = false;
    if (size && name[0] >= '0' && name[0] <= '9')
        buffer_text(to, "key_");
    for (size_t i = 0; i < size; i++) {
        bool takes = is_token((unsigned char)name[i]) && name[i] != ':';
        if (takes || !underscore)
            buffer_put(to, takes ? &name[i] : "_", 1);
        underscore = !takes;
        good |= takes;
    }
    return good;
}

bool sonde_prometheus_label_name(struct buffer *to, const char *name, size_t size,
                                 enum sonde_prometheus_strategy strategy) {
    size_t start = to->size;
    bool good = false;
    if (strategy == SONDE_PROMETHEUS_UNDERSCORE_WITH_SUFFIXES ||
        strategy == SONDE_PROMETHEUS_UNDERSCORE_WITHOUT_SUFFIXES) {
        good = plain_label(to, name, size);
    } else {
        for (size_t i = 0; i < size; i++)
            good |= name[i] != '_';
        buffer_put(to, name, size);
    }
    if (!good)
        to->size = start;
    return good && !to->failed;
}

void sonde_prometheus_unit_word(struct buffer *to, struct sonde_string unit, enum sonde_instrument_kind kind) {
    size_t start = to->size;
    if (kind == SONDE_GAUGE && equals(unit, "1"))
        buffer_text(to, "ratio");
    append_unit(to, start, unit);
    if (to->size > start && to->data[start] == '_') { /* only _per_x */
        memmove(to->data + start, to->data + start + 1, to->size - start - 1);
        to->size--;
    }
}
