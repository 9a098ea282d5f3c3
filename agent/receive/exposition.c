/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/receive/exposition.h"
#include "instrumentation/wire/writer.h"
#include <math.h>
#include <sonde/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NUMBER_SIZE_MAX 64u

/* The rest of a line. */
struct cursor {
    const char *at, *end;
};

static int refuse(struct sonde__exposition *reader, const char *problem) {
    reader->problem = problem;
    return SONDE_EMALFORMED;
}
static int limited(struct sonde__exposition *reader, const char *problem) {
    reader->problem = problem;
    return SONDE_ETOOBIG;
}

static bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_name(char c) {
    return is_name_start(c) || (c >= '0' && c <= '9');
}
static void spaces_skip(struct cursor *line) {
    while (line->at < line->end && (*line->at == ' ' || *line->at == '\t'))
        line->at++;
}
static bool take(struct cursor *line, char c) {
    if (line->at == line->end || *line->at != c)
        return false;
    line->at++;
    return true;
}

/* What stands until the next space. */
static struct cursor word(struct cursor *line) {
    struct cursor found = {line->at, line->at};
    while (line->at < line->end && *line->at != ' ' && *line->at != '\t')
        line->at++;
    found.end = line->at;
    return found;
}
static bool equals(struct cursor a, const char *b) {
    return (size_t)(a.end - a.at) == strlen(b) && memcmp(a.at, b, strlen(b)) == 0;
}

/* Takes a name; empty when there is none. Metric names may hold colons. */
static struct cursor name_take(struct cursor *line, bool colons) {
    struct cursor found = {line->at, line->at};
    if (line->at < line->end && (is_name_start(*line->at) || (colons && *line->at == ':')))
        while (line->at < line->end && (is_name(*line->at) || (colons && *line->at == ':')))
            line->at++;
    found.end = line->at;
    return found;
}

/* ---- numbers ---- */

static bool number_is_word(const char *text, size_t size, double *ret_value) {
    static const struct {
        const char *text;
        double value;
    } words[] = {{"+Inf", INFINITY}, {"-Inf", -INFINITY}, {"Inf", INFINITY}, {"NaN", NAN}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (size == strlen(words[i].text) && strncasecmp(text, words[i].text, size) == 0) {
            *ret_value = words[i].value;
            return true;
        }
    return false;
}

bool sonde__exposition_number(const char *text, size_t size, double *ret_value) {
    char copy[NUMBER_SIZE_MAX + 1], *end;
    uint64_t whole = 0;
    size_t i = 0;
    while (i < size && i < 15 && text[i] >= '0' && text[i] <= '9') /* most are small whole numbers; exact */
        whole = whole * 10 + (uint64_t)(text[i++] - '0');
    if (i && i == size) {
        *ret_value = (double)whole;
        return true;
    }
    if (!size || size > NUMBER_SIZE_MAX)
        return false;
    for (i = 0; i < size; i++) /* nothing else that strtod() takes: hexadecimals, spaces, nan(...) */
        if (!memchr("0123456789+-.eE", text[i], 15))
            return number_is_word(text, size, ret_value);
    memcpy(copy, text, size);
    copy[size] = '\0';
    *ret_value = strtod(copy, &end);
    return end == copy + size;
}

/* ---- comments: HELP, TYPE, EOF ---- */

static enum sonde__exposition_type type_of(struct cursor text, bool *ret_known) {
    static const char *const names[] = {
        [SONDE__EXPOSITION_UNKNOWN] = "unknown", [SONDE__EXPOSITION_COUNTER] = "counter",
        [SONDE__EXPOSITION_GAUGE] = "gauge",     [SONDE__EXPOSITION_HISTOGRAM] = "histogram",
        [SONDE__EXPOSITION_SUMMARY] = "summary", [SONDE__EXPOSITION_GAUGE_HISTOGRAM] = "gaugehistogram",
        [SONDE__EXPOSITION_INFO] = "info",       [SONDE__EXPOSITION_STATE_SET] = "stateset",
    };
    *ret_known = true;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (equals(text, names[i]))
            return (enum sonde__exposition_type)i;
    *ret_known = equals(text, "untyped");
    return SONDE__EXPOSITION_UNKNOWN;
}

/* Begins a family, unless it is the one that is at hand. */
static int family_set(struct sonde__exposition *reader, struct cursor name) {
    size_t size = (size_t)(name.end - name.at);
    if (size >= sizeof reader->family)
        return limited(reader, "a name is too long");
    if (size == reader->family_size && memcmp(reader->family, name.at, size) == 0)
        return 0;
    memcpy(reader->family, name.at, size);
    reader->family[size] = '\0';
    reader->family_size = size;
    reader->type = SONDE__EXPOSITION_UNKNOWN;
    reader->help[0] = '\0';
    return 0;
}

static void help_set(struct sonde__exposition *reader, struct cursor text) {
    size_t size = 0;
    while (text.at < text.end && size + 1 < sizeof reader->help) {
        char c = *text.at++;
        if (c == '\\' && text.at < text.end && (*text.at == 'n' || *text.at == '\\' || *text.at == '"'))
            c = *text.at++ == 'n' ? '\n' : text.at[-1];
        if (c)
            reader->help[size++] = c;
    }
    size = sonde__utf8_cut(reader->help, size, size);
    if (!sonde__utf8_is_valid(reader->help, size))
        size = 0; /* a HELP that is no text says nothing */
    reader->help[size] = '\0';
}

/* A line that begins with #: comments that say nothing to us are passed over. */
static int comment_read(struct sonde__exposition *reader, struct cursor line) {
    line.at++;
    if (equals(line, " EOF")) {
        reader->ended = reader->is_openmetrics;
        return 0;
    }
    spaces_skip(&line);
    struct cursor what = word(&line);
    bool is_help = equals(what, "HELP"), is_type = equals(what, "TYPE"), known;
    if (!is_help && !is_type)
        return 0;
    spaces_skip(&line);
    struct cursor name = name_take(&line, true);
    if (name.at == name.end || (line.at < line.end && *line.at != ' ' && *line.at != '\t'))
        return refuse(reader, "a HELP or TYPE names no metric");
    int err = family_set(reader, name);
    if (err)
        return err;
    if (line.at < line.end)
        line.at++;
    if (is_help) {
        help_set(reader, line);
        return 0;
    }
    spaces_skip(&line);
    enum sonde__exposition_type type = type_of(word(&line), &known);
    spaces_skip(&line);
    if (!known || line.at != line.end)
        return refuse(reader, "a TYPE is none that is known");
    reader->type = type;
    return 0;
}

/* ---- samples ---- */

/* Keeps text, NUL-terminated; NULL when it does not fit. */
static char *text_keep(struct sonde__exposition *reader, struct cursor text) {
    size_t size = (size_t)(text.end - text.at);
    if (size >= sizeof reader->text - reader->text_size)
        return NULL;
    char *kept = reader->text + reader->text_size;
    memcpy(kept, text.at, size);
    kept[size] = '\0';
    reader->text_size += size + 1;
    return kept;
}

/* Reads behind the first quote up to and with the last. */
static int value_take(struct sonde__exposition *reader, struct cursor *line, struct sonde__exposition_label *label) {
    char *start = reader->text + reader->text_size, *to = start;
    const char *limit = reader->text + sizeof reader->text - 1;
    while (line->at < line->end && *line->at != '"') {
        char c = *line->at++;
        if (c == '\\') {
            if (line->at == line->end)
                break;
            c = *line->at++;
            if (c != 'n' && c != '\\' && c != '"')
                return refuse(reader, "a label's value has an escape that is none");
            if (c == 'n')
                c = '\n';
        }
        if (to >= limit)
            return limited(reader, "the labels of a sample are too long");
        *to++ = c;
    }
    if (!take(line, '"'))
        return refuse(reader, "a label's value does not end");
    *to = '\0';
    label->value = start;
    label->value_size = (size_t)(to - start);
    reader->text_size += label->value_size + 1;
    return 0;
}

static int label_take(struct sonde__exposition *reader, struct cursor *line) {
    struct sonde__exposition_label label;
    struct cursor name = name_take(line, false);
    if (name.at == name.end)
        return refuse(reader, "a label has no name");
    spaces_skip(line);
    if (!take(line, '='))
        return refuse(reader, "a label has no value");
    spaces_skip(line);
    if (!take(line, '"'))
        return refuse(reader, "a label's value is not quoted");
    label.name_size = (size_t)(name.end - name.at);
    label.name = text_keep(reader, name);
    if (!label.name || reader->text_size >= sizeof reader->text)
        return limited(reader, "the labels of a sample are too long");
    int err = value_take(reader, line, &label);
    if (err || !label.value_size)
        return err;
    for (size_t i = 0; i < reader->label_count; i++)
        if (reader->labels[i].name_size == label.name_size && strcmp(reader->labels[i].name, label.name) == 0)
            return refuse(reader, "a label stands twice");
    if (reader->label_count == SONDE__EXPOSITION_LABELS_MAX)
        return limited(reader, "a sample has too many labels");
    reader->labels[reader->label_count++] = label;
    return 0;
}

static int labels_take(struct sonde__exposition *reader, struct cursor *line) {
    int err = 0;
    spaces_skip(line);
    while (!err && !take(line, '}')) {
        err = label_take(reader, line);
        if (err)
            return err;
        spaces_skip(line);
        if (take(line, ',')) {
            spaces_skip(line);
            continue;
        }
        if (line->at == line->end || *line->at != '}')
            err = refuse(reader, "labels do not end");
    }
    return err;
}

static bool ends_in(const char *name, size_t size, size_t at, const char *suffix) {
    return size - at == strlen(suffix) && memcmp(name + at, suffix, size - at) == 0;
}

/* Whether the name is one of the family's; what it is then. */
static enum sonde__exposition_type sample_type(const struct sonde__exposition *reader, const char *name, size_t size,
                                               bool *ret_of_family, bool *ret_created) {
    size_t at = reader->family_size;
    *ret_created = *ret_of_family = false;
    if (!at || size < at || memcmp(name, reader->family, at) != 0)
        return SONDE__EXPOSITION_UNKNOWN;
    enum sonde__exposition_type type = reader->type;
    bool parts = ends_in(name, size, at, "_count") || ends_in(name, size, at, "_sum");
    bool is_own = size == at;
    switch (type) {
    case SONDE__EXPOSITION_COUNTER:
        is_own |= ends_in(name, size, at, "_total");
        break;
    case SONDE__EXPOSITION_HISTOGRAM:
        is_own = parts || ends_in(name, size, at, "_bucket");
        break;
    case SONDE__EXPOSITION_SUMMARY:
        is_own |= parts;
        break;
    case SONDE__EXPOSITION_GAUGE_HISTOGRAM:
        is_own = ends_in(name, size, at, "_gcount") || ends_in(name, size, at, "_gsum") ||
                 ends_in(name, size, at, "_bucket");
        break;
    case SONDE__EXPOSITION_INFO:
        is_own |= ends_in(name, size, at, "_info");
        break;
    default:
        break;
    }
    *ret_created =
        reader->is_openmetrics && ends_in(name, size, at, "_created") &&
        (type == SONDE__EXPOSITION_COUNTER || type == SONDE__EXPOSITION_HISTOGRAM || type == SONDE__EXPOSITION_SUMMARY);
    *ret_of_family = is_own || *ret_created;
    return *ret_of_family ? type : SONDE__EXPOSITION_UNKNOWN;
}

/* Value, time stamp, exemplar. */
static int numbers_take(struct sonde__exposition *reader, struct cursor *line, double *ret_value) {
    double time_stamp;
    spaces_skip(line);
    struct cursor text = word(line);
    if (!sonde__exposition_number(text.at, (size_t)(text.end - text.at), ret_value))
        return refuse(reader, "a value is no number");
    spaces_skip(line);
    if (line->at < line->end && *line->at != '#') {
        text = word(line);
        if (!sonde__exposition_number(text.at, (size_t)(text.end - text.at), &time_stamp))
            return refuse(reader, "a time stamp is no number");
        spaces_skip(line);
    }
    if (line->at < line->end && !(reader->is_openmetrics && *line->at == '#'))
        return refuse(reader, "a line has more than a sample");
    return 0;
}

/* OpenMetrics: foo_created tells of foo_total. */
static const char *created_of(struct sonde__exposition *reader) {
    struct cursor family = {reader->family, reader->family + reader->family_size};
    char *name = text_keep(reader, family);
    if (!name || sizeof reader->text - reader->text_size < sizeof "_total")
        return NULL;
    memcpy(name + reader->family_size, "_total", sizeof "_total");
    reader->text_size += sizeof "_total";
    return name;
}

static int sample_read(struct sonde__exposition *reader, struct cursor line) {
    struct sonde__exposition_sample sample = {.help = ""};
    bool of_family;
    reader->text_size = reader->label_count = 0;
    struct cursor name = name_take(&line, true);
    size_t name_size = (size_t)(name.end - name.at);
    if (!name_size)
        return refuse(reader, "a sample has no name");
    if (name_size >= SONDE__EXPOSITION_NAME_SIZE_MAX)
        return limited(reader, "a name is too long");
    sample.name = text_keep(reader, name);
    const char *behind_name = line.at;
    spaces_skip(&line);
    int err = take(&line, '{') ? labels_take(reader, &line) : 0;
    if (!err && line.at == behind_name)
        err = refuse(reader, "a sample has no value");
    if (!err)
        err = numbers_take(reader, &line, &sample.value);
    if (err)
        return err;
    if (reader->samples == reader->samples_max)
        return limited(reader, "more samples than sample_limit allows");
    reader->samples++;
    sample.type = sample_type(reader, sample.name, name_size, &of_family, &sample.is_created);
    if (of_family)
        sample.help = reader->help;
    if (sample.is_created && !(sample.name = created_of(reader)))
        return limited(reader, "the labels of a sample are too long");
    sample.labels = reader->labels;
    sample.label_count = reader->label_count;
    return reader->sample(reader->user, &sample);
}

static int line_read(struct sonde__exposition *reader, struct cursor line) {
    if (reader->ended)
        return refuse(reader, "something stands behind # EOF");
    if (line.end > line.at && line.end[-1] == '\r')
        line.end--;
    if (!reader->is_openmetrics)
        spaces_skip(&line);
    if (line.at == line.end)
        return 0;
    return *line.at == '#' ? comment_read(reader, line) : sample_read(reader, line);
}

int sonde__exposition_read(struct sonde__exposition *reader, const char *text, size_t size) {
    const char *at = text, *end = text + size;
    int err = 0;
    while (!err && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        struct cursor line = {at, newline ? newline : end};
        reader->line++;
        err = line_read(reader, line);
        at = newline ? newline + 1 : end;
    }
    if (!err && reader->is_openmetrics && !reader->ended)
        err = refuse(reader, "# EOF is missing: the answer was cut off");
    return err;
}
