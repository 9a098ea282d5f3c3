/* SPDX-License-Identifier: Apache-2.0 */
/* The C API for C++17: what ends by itself at the end of its scope, text from std::string_view, values of any type.
 * Header only; each member is one call of the C function that it is named after, nothing throws, nothing allocates.
 *
 *     sonde::span span("GET /users");                       // child of the current span, and current
 *     span.set("http.route", route);                        // string, bool, integer, floating point
 *     sonde::counter hits("shop.hits", "{hit}");
 *     hits.add(1, {{"shop.id", 7}, {"shop.name", name}});
 *
 * A literal's key costs least as SONDE_KEY("http.route"); it goes wherever a key does. */
#ifndef SONDE_SONDE_HPP
#define SONDE_SONDE_HPP

#include <sonde/sonde.h>

#include <exception>
#include <initializer_list>
#include <string_view>
#include <type_traits>
#include <utility>

namespace sonde {

/** Text as the C API takes it; borrowed. */
inline sonde_string text(std::string_view view) noexcept {
    sonde_string string;
    string.data = view.data();
    string.size = view.size();
    return string;
}

/** A key or name: from text, or a sonde_key such as SONDE_KEY("literal"). Borrowed. */
class key {
  public:
    key(struct sonde_key value) noexcept : value_(value) {
    }
    key(std::string_view view) noexcept : value_(sonde_key_n(view.data(), view.size())) {
    }
    key(const char *view) noexcept : key(std::string_view(view)) {
    }
    operator struct sonde_key() const noexcept {
        return value_;
    }

  private:
    struct sonde_key value_;
};

/** Key and value, for calls that take several; what it points to is borrowed. */
class attribute {
  public:
    attribute(key name, std::string_view value) noexcept
        : value_(sonde_attribute_string_n(name, value.data(), value.size())) {
    }
    attribute(key name, const char *value) noexcept : attribute(name, std::string_view(value)) {
    }
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
    attribute(key name, T value) noexcept : value_(make(name, value)) {
    }
    const sonde_attribute &get() const noexcept {
        return value_;
    }

  private:
    template <typename T> static sonde_attribute make(key name, T value) noexcept {
        if constexpr (std::is_same_v<T, bool>)
            return sonde_attribute_bool(name, value);
        else if constexpr (std::is_floating_point_v<T>)
            return sonde_attribute_double(name, static_cast<double>(value));
        else
            return sonde_attribute_int64(name, static_cast<int64_t>(value));
    }
    sonde_attribute value_;
};
static_assert(sizeof(attribute) == sizeof(sonde_attribute), "a list of these is an array of those");

using attributes = std::initializer_list<attribute>;
inline const sonde_attribute *data(attributes list) noexcept {
    return list.size() ? &list.begin()->get() : nullptr;
}

/** A context value: 9 KiB of which only what is used is copied. */
class context {
  public:
    context() noexcept {
        sonde_context_init(&value_);
    }
    context(const context &from) noexcept {
        sonde_context_copy(&value_, &from.value_);
    }
    context &operator=(const context &from) noexcept {
        if (this != &from)
            sonde_context_copy(&value_, &from.value_);
        return *this;
    }
    /** The thread's current one. */
    static context current() noexcept {
        context now;
        sonde_context_current(&now.value_);
        return now;
    }
    static context extract(const sonde_carrier &carrier) noexcept {
        context remote;
        (void)sonde_extract(&carrier, &remote.value_);
        return remote;
    }
    int inject(const sonde_carrier &carrier) const noexcept {
        return sonde_inject(&value_, &carrier);
    }
    bool is_valid() const noexcept {
        return sonde_span_context_is_valid(&value_.span);
    }
    const sonde_context &get() const noexcept {
        return value_;
    }
    sonde_context &get() noexcept {
        return value_;
    }

  private:
    sonde_context value_;
};

/** Makes a context current on this thread until the end of the scope. */
class scope {
  public:
    explicit scope(const context &made_current) noexcept : token_(sonde_context_attach(&made_current.get())) {
    }
    ~scope() {
        sonde_context_detach(token_);
    }
    scope(const scope &) = delete;
    scope &operator=(const scope &) = delete;

  private:
    sonde_context_token token_;
};

/** A span that ends with its scope. Move-only; a moved-from one does nothing. */
class span {
  public:
    explicit span(key name) noexcept {
        sonde_span_start(&value_, name, nullptr);
    }
    span(key name, const sonde_span_options &options) noexcept {
        sonde_span_start(&value_, name, &options);
    }
    span(key name, sonde_span_kind kind) noexcept {
        sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
        options.kind = kind;
        sonde_span_start(&value_, name, &options);
    }
    span(key name, sonde_span_kind kind, const context &parent) noexcept {
        sonde_span_options options = SONDE_SPAN_OPTIONS_INIT;
        options.kind = kind;
        options.parent = &parent.get();
        sonde_span_start(&value_, name, &options);
    }
    ~span() {
        sonde_span_end(&value_);
    }
    span(span &&from) noexcept : value_(from.value_) {
        from.value_ = sonde_span{};
    }
    span &operator=(span &&from) noexcept {
        if (this != &from) {
            sonde_span_end(&value_);
            value_ = from.value_;
            from.value_ = sonde_span{};
        }
        return *this;
    }
    span(const span &) = delete;
    span &operator=(const span &) = delete;

    void end() noexcept {
        sonde_span_end(&value_);
    }
    bool is_recording() const noexcept {
        return sonde_span_is_recording(&value_);
    }
    context to_context() const noexcept {
        context own;
        sonde_span_context_get(&value_, &own.get());
        return own;
    }

    span &set(key name, std::string_view value) noexcept {
        sonde_span_set_string(&value_, name, value.data(), value.size());
        return *this;
    }
    span &set(key name, const char *value) noexcept {
        return set(name, std::string_view(value));
    }
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>> span &set(key name, T value) noexcept {
        if constexpr (std::is_same_v<T, bool>)
            sonde_span_set_bool(&value_, name, value);
        else if constexpr (std::is_floating_point_v<T>)
            sonde_span_set_double(&value_, name, static_cast<double>(value));
        else
            sonde_span_set_int64(&value_, name, static_cast<int64_t>(value));
        return *this;
    }
    span &set(const sonde_attribute &value) noexcept {
        sonde_span_set(&value_, &value);
        return *this;
    }
    span &event(key name, attributes with = {}) noexcept {
        sonde_span_add_event(&value_, name, 0, data(with), with.size());
        return *this;
    }
    span &link(const context &to, attributes with = {}) noexcept {
        sonde_link link = sonde_link_to(&to.get());
        link.attributes = data(with);
        link.attribute_count = with.size();
        sonde_span_add_link(&value_, &link);
        return *this;
    }
    /** Records an exception and sets the status to ERROR. */
    span &fail(const char *type, const char *message) noexcept {
        sonde_span_record_exception(&value_, type, message, nullptr);
        sonde_span_set_status(&value_, SONDE_STATUS_ERROR, message);
        return *this;
    }
    span &fail(const std::exception &error) noexcept {
        return fail("std::exception", error.what());
    }
    span &status(sonde_status value, const char *description = nullptr) noexcept {
        sonde_span_set_status(&value_, value, description);
        return *this;
    }
    span &rename(key name) noexcept {
        sonde_span_set_name(&value_, name);
        return *this;
    }
    sonde_span &get() noexcept {
        return value_;
    }
    const sonde_span &get() const noexcept {
        return value_;
    }

  private:
    sonde_span value_;
};
static_assert(sizeof(span) == sizeof(sonde_span), "a handle and nothing else");

/** A log record in the current context. */
inline void log(int severity, std::string_view body, attributes with = {}) noexcept {
    sonde_log(severity, body.data(), body.size(), data(with), with.size());
}

/** Whether a record of this severity would be taken: ask before work that only the record needs. */
inline bool log_enabled(int severity) noexcept {
    return sonde_log_enabled(severity);
}

/** What all instruments share: made once (it takes a lock), then copied as a number. A failure leaves a no-op. */
class instrument {
  public:
    sonde_instrument get() const noexcept {
        return value_;
    }
    sonde_series bind(attributes with = {}) const noexcept {
        return sonde_series_bind(value_, data(with), with.size());
    }

  protected:
    instrument(sonde_instrument_kind kind, sonde_number number, const char *name, const char *unit,
               const char *description, const double *bounds = nullptr, size_t bound_count = 0) noexcept {
        sonde_instrument_options options{};
        options.size = sizeof options;
        options.kind = kind;
        options.number = number;
        options.name = name;
        options.unit = unit;
        options.description = description;
        options.bounds = bounds;
        options.bound_count = bound_count;
        (void)sonde_instrument_create(&options, &value_);
    }

  private:
    sonde_instrument value_{};
};

class counter : public instrument {
  public:
    explicit counter(const char *name, const char *unit = nullptr, const char *description = nullptr) noexcept
        : instrument(SONDE_COUNTER, SONDE_NUMBER_INT64, name, unit, description) {
    }
    void add(uint64_t value, attributes with = {}) const noexcept {
        sonde_instrument_add(get(), static_cast<int64_t>(value), data(with), with.size());
    }
};
class up_down_counter : public instrument {
  public:
    explicit up_down_counter(const char *name, const char *unit = nullptr, const char *description = nullptr) noexcept
        : instrument(SONDE_UP_DOWN_COUNTER, SONDE_NUMBER_INT64, name, unit, description) {
    }
    void add(int64_t value, attributes with = {}) const noexcept {
        sonde_instrument_add(get(), value, data(with), with.size());
    }
};
class gauge : public instrument {
  public:
    explicit gauge(const char *name, const char *unit = nullptr, const char *description = nullptr) noexcept
        : instrument(SONDE_GAUGE, SONDE_NUMBER_DOUBLE, name, unit, description) {
    }
    void set(double value, attributes with = {}) const noexcept {
        sonde_instrument_record(get(), value, data(with), with.size());
    }
};
class histogram : public instrument {
  public:
    explicit histogram(const char *name, const char *unit = nullptr, const char *description = nullptr) noexcept
        : instrument(SONDE_HISTOGRAM, SONDE_NUMBER_DOUBLE, name, unit, description) {
    }
    void record(double value, attributes with = {}) const noexcept {
        sonde_instrument_record(get(), value, data(with), with.size());
    }
};

class observable_counter : public instrument {
  public:
    explicit observable_counter(const char *name, const char *unit = nullptr, const char *description = nullptr,
                                sonde_number number = SONDE_NUMBER_INT64) noexcept
        : instrument(SONDE_OBSERVABLE_COUNTER, number, name, unit, description) {
    }
};
class observable_up_down_counter : public instrument {
  public:
    explicit observable_up_down_counter(const char *name, const char *unit = nullptr, const char *description = nullptr,
                                        sonde_number number = SONDE_NUMBER_INT64) noexcept
        : instrument(SONDE_OBSERVABLE_UP_DOWN_COUNTER, number, name, unit, description) {
    }
};
class observable_gauge : public instrument {
  public:
    explicit observable_gauge(const char *name, const char *unit = nullptr, const char *description = nullptr,
                              sonde_number number = SONDE_NUMBER_DOUBLE) noexcept
        : instrument(SONDE_OBSERVABLE_GAUGE, number, name, unit, description) {
    }
};

/** Where a callback reports values to. */
class observer {
  public:
    explicit observer(sonde_observer *to) noexcept : to_(to) {
    }
    /** An instrument of doubles takes integers too; one of integers takes no doubles. */
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
    void set(const instrument &of, T value, attributes with = {}) const noexcept {
        if constexpr (std::is_floating_point_v<T>)
            sonde_observer_set_double(to_, of.get(), static_cast<double>(value), data(with), with.size());
        else
            sonde_observer_set(to_, of.get(), static_cast<int64_t>(value), data(with), with.size());
    }

  private:
    sonde_observer *to_;
};

/** A callback as long as this lives: anything callable with a sonde::observer, called on the library's thread when the
 *  agent asks. Its end waits for a running call. Neither copied nor moved, because the library keeps its address.
 *
 *     sonde::observable_gauge length("shop.queue.length", "{item}");
 *     sonde::observable watch([&](sonde::observer to) { to.set(length, queue.size()); }, {length}); */
template <typename Callback> class observable {
  public:
    observable(Callback callback, std::initializer_list<instrument> instruments) noexcept
        : callback_(std::move(callback)) {
        static_assert(sizeof(instrument) == sizeof(sonde_instrument), "a list of these is an array of those");
        (void)sonde_observable_register(
            [](sonde_observer *to, void *self) { static_cast<observable *>(self)->callback_(observer(to)); }, this,
            reinterpret_cast<const sonde_instrument *>(instruments.begin()), instruments.size(), &registration_);
    }
    ~observable() {
        sonde_observable_unregister(registration_);
    }
    observable(const observable &) = delete;
    observable &operator=(const observable &) = delete;

  private:
    Callback callback_;
    sonde_observable registration_{};
};

} // namespace sonde

#endif
