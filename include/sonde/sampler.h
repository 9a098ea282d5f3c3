/* SPDX-License-Identifier: Apache-2.0 */
/* Samplers to compose, for what the names in sonde_options.sampler cannot say. Give the outermost one to sonde_start():
 *
 *   const struct sonde_sampler *tenth, *rules, *sampler;
 *   sonde_sampler_probability(0.1, &tenth);
 *   struct sonde_sampler_rule r[2] = {SONDE_SAMPLER_RULE_INIT, SONDE_SAMPLER_RULE_INIT};
 *   r[0].name = "GET /healthz";  r[0].sampler = sonde_sampler_always_off();
 *   r[1].sampler = tenth;                                  // all else
 *   sonde_sampler_rule_based(r, 2, &rules);
 *   sonde_sampler_parent_threshold(rules, &sampler);       // the rules decide for roots, parents for their children
 *   options.composed_sampler = sampler;
 *
 * A sampler gives a threshold T: a span is sampled when the randomness R of its trace is at least T, so that every
 * service with the same or a larger ratio keeps the same traces; what is sampled so says T in its tracestate (ot=th),
 * by which counts can be added up. Where the decision came from something else (a rate, a parent that said nothing, the
 * code) no th is sent.
 * Samplers are constant, live as long as the process, and are shared by a forked child; at most SONDE_SAMPLERS_MAX.
 * They are made before sonde_start(), by any thread (a lock is taken); deciding takes neither lock nor memory.
 * Record-only decisions (AlwaysRecord) do not exist: span processors that could see such spans live in the agent, and
 * an unsampled span would have to be sent to get there. A span that is dropped is a valid context and nothing more.
 * Source: OpenTelemetry specification, trace/sdk.md#sampling, trace/tracestate-probability-sampling.md. */
#ifndef SONDE_SAMPLER_H
#define SONDE_SAMPLER_H

#include <sonde/trace.h>

SONDE_BEGIN

struct sonde_sampler; /* opaque, constant, never freed */

/* Errors of all that make one: SONDE_EINVALID (a value out of range, NULL where a sampler must be, nested deeper than
 * SONDE_SAMPLER_DEPTH_MAX), SONDE_EFULL. ret_sampler is untouched then. Everything passed in is copied. */

/** Threshold 0, and no threshold at all. */
SONDE_API const struct sonde_sampler *sonde_sampler_always_on(void);
SONDE_API const struct sonde_sampler *sonde_sampler_always_off(void);

/** ratio 0..1; rounded to four significant hexadecimal digits of T. */
SONDE_API int sonde_sampler_probability(double ratio, const struct sonde_sampler **ret_sampler);

/** What the agent says for this service (`sonde sample SERVICE RATIO`), as a probability sampler; else `otherwise`. The
 *  samplers with names ask the agent where they decide for roots; composed ones do where this stands in them. */
SONDE_API int sonde_sampler_remote(const struct sonde_sampler *otherwise, const struct sonde_sampler **ret_sampler);

/** A span with a parent keeps its parent's threshold; one whose parent told none follows the sampled flag. root decides
 *  for the others, and where a carrier left the decision open. */
SONDE_API int sonde_sampler_parent_threshold(const struct sonde_sampler *root,
                                             const struct sonde_sampler **ret_sampler);

/** Who decides for a span with a parent, by the parent; NULL = as the parent did, its tracestate unchanged but for a th
 *  that contradicts its flag. With local ones every span takes the slower way through the samplers. */
struct sonde_sampler_parents {
    size_t size;
    const struct sonde_sampler *root; /* needed */
    const struct sonde_sampler *remote_sampled, *remote_not_sampled, *local_sampled, *local_not_sampled;
};
#ifdef __cplusplus
#define SONDE_SAMPLER_PARENTS_INIT { sizeof(struct sonde_sampler_parents), nullptr, nullptr, nullptr, nullptr, nullptr }
#else
#define SONDE_SAMPLER_PARENTS_INIT { .size = sizeof(struct sonde_sampler_parents) }
#endif
SONDE_API int sonde_sampler_parent_based(const struct sonde_sampler_parents *parents,
                                         const struct sonde_sampler **ret_sampler);

enum sonde_sampler_parent {
    SONDE_PARENT_ANY = 0, /* or none */
    SONDE_PARENT_NONE,    /* a root */
    SONDE_PARENT_LOCAL,
    SONDE_PARENT_REMOTE,
};
/** A rule holds when all that it names holds; zero and NULL name nothing. Chance is no condition: rules that looked at
 *  a trace's randomness would falsify th.
 *  kind        enum sonde_span_kind.
 *  name        of the span: a pattern where * stands for any run of bytes and ? for one; the first 256 bytes count.
 *  scope       name of the instrumentation scope, likewise.
 *  attributes  each one is among the attributes given at the start (sonde_span_options), with an equal value: string,
 *              bool, int64 or double.
 *  sampler     decides. */
struct sonde_sampler_rule {
    size_t size;
    int kind;
    enum sonde_sampler_parent parent;
    const char *name, *scope;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
    const struct sonde_sampler *sampler;
};
#ifdef __cplusplus
#define SONDE_SAMPLER_RULE_INIT                                                                                        \
    { sizeof(struct sonde_sampler_rule), 0, SONDE_PARENT_ANY, nullptr, nullptr, nullptr, 0, nullptr }
#else
#define SONDE_SAMPLER_RULE_INIT { .size = sizeof(struct sonde_sampler_rule) }
#endif
/** The first rule that holds; none: dropped. At most SONDE_SAMPLER_RULES_MAX rules in a process, patterns and strings
 *  up to 127 bytes. rules: count of them in a row, each rules[0].size bytes long. */
SONDE_API int sonde_sampler_rule_based(const struct sonde_sampler_rule *rules, size_t count,
                                       const struct sonde_sampler **ret_sampler);

/** Adds attributes (string, bool, int64, double) to what `inner` samples. */
SONDE_API int sonde_sampler_annotating(const struct sonde_sampler *inner, const struct sonde_attribute *attributes,
                                       size_t count, const struct sonde_sampler **ret_sampler);

/** At most per_second spans a second in this process, of those that `inner` samples (NULL = all), after a burst of at
 *  most `burst` (0 = a second's worth, at least 1). No th: how many a span stands for is not known.
 *  per_second 0..1e6. */
SONDE_API int sonde_sampler_rate_limiting(double per_second, uint32_t burst, const struct sonde_sampler *inner,
                                          const struct sonde_sampler **ret_sampler);

/** What a sampler of your own is asked. All borrowed during the call.
 *  context     of the parent, with its tracestate and baggage; span_id is zero for a root, trace_id is the new span's
 *              always. Its tracestate becomes the span's: change it with sonde_tracestate_set() and _remove(), but
 *              leave `ot` to the library. Other changes are ignored.
 *  randomness  R, 56 bits. */
struct sonde_sampling_request {
    size_t size;
    struct sonde_key name;
    enum sonde_span_kind kind;
    uint32_t scope;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
    const struct sonde_link *links;
    size_t link_count;
    struct sonde_context *context;
    uint64_t randomness;
};
enum sonde_sampling {
    SONDE_SAMPLING_DROP = 0,
    SONDE_SAMPLING_SAMPLE,    /* says nothing about counts: no th */
    SONDE_SAMPLING_THRESHOLD, /* by result->threshold, which is sent */
};
/** What it answers; DROP and no attributes when it answers nothing.
 *  threshold   0..2^56 (nothing is sampled).
 *  attributes  are added to a sampled span; must stay as they are until sonde_span_start() returned (constants, or
 *              memory of the thread). */
struct sonde_sampling_result {
    size_t size;
    enum sonde_sampling decision;
    uint64_t threshold;
    const struct sonde_attribute *attributes;
    size_t attribute_count;
};
/** Called on the thread that starts the span, within sonde_span_start(), by many threads at once: must not block, must
 *  not throw, and must not call the library but for functions that work on `context` (tracestate and baggage), which is
 *  inside a call already: a span started here is dropped and counted. The result must not depend on chance of its own
 *  where it gives a threshold. */
typedef void (*sonde_sampler_fn)(void *user, const struct sonde_sampling_request *request,
                                 struct sonde_sampling_result *ret_result);
/** user: kept. */
SONDE_API int sonde_sampler_custom(sonde_sampler_fn decide, void *user, const struct sonde_sampler **ret_sampler);

SONDE_END

#endif
