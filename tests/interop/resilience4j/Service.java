/* SPDX-License-Identifier: Apache-2.0 */
/* A service with Resilience4j's circuit breakers (and what else it has), whose metrics Micrometer shows to Prometheus.
 * Prints its port; then does what standard input says, a line each, and answers each with a line. GET /metrics answers in
 * the format that is asked for, /plain in text whatever is asked for.
 *     call BREAKER success|failure|ignored MS    asks the breaker, and reports; answers admitted or rejected
 *     state BREAKER STATE                        as transitionTo...State() does
 *     retry success|failure    a call through the retry;   timeout    one that took too long
 * The first argument says what the timers of calls have: summary, histogram (buckets) or quantiles. */
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import io.github.resilience4j.bulkhead.BulkheadConfig;
import io.github.resilience4j.bulkhead.BulkheadRegistry;
import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.circuitbreaker.CircuitBreakerRegistry;
import io.github.resilience4j.micrometer.tagged.TaggedBulkheadMetrics;
import io.github.resilience4j.micrometer.tagged.TaggedCircuitBreakerMetrics;
import io.github.resilience4j.micrometer.tagged.TaggedRateLimiterMetrics;
import io.github.resilience4j.micrometer.tagged.TaggedRetryMetrics;
import io.github.resilience4j.micrometer.tagged.TaggedTimeLimiterMetrics;
import io.github.resilience4j.ratelimiter.RateLimiterRegistry;
import io.github.resilience4j.retry.RetryConfig;
import io.github.resilience4j.retry.RetryRegistry;
import io.github.resilience4j.timelimiter.TimeLimiterRegistry;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.config.MeterFilter;
import io.micrometer.core.instrument.distribution.DistributionStatisticConfig;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

public final class Service {
    static final String TEXT = "text/plain; version=0.0.4; charset=utf-8";
    static final String OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    static final class Ignored extends RuntimeException { }

    final PrometheusMeterRegistry meters = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
    final CircuitBreakerRegistry breakers = CircuitBreakerRegistry.of(
        CircuitBreakerConfig.custom().slidingWindowSize(10).minimumNumberOfCalls(4).permittedNumberOfCallsInHalfOpenState(2)
            .slowCallDurationThreshold(Duration.ofSeconds(1)).waitDurationInOpenState(Duration.ofHours(1))
            .ignoreExceptions(Ignored.class).build());
    final RetryRegistry retries = RetryRegistry.of(
        RetryConfig.custom().maxAttempts(2).waitDuration(Duration.ofMillis(1)).build());
    final BulkheadRegistry bulkheads = BulkheadRegistry.of(
        BulkheadConfig.custom().maxConcurrentCalls(7).maxWaitDuration(Duration.ZERO).build());
    final RateLimiterRegistry limiters = RateLimiterRegistry.ofDefaults();
    final TimeLimiterRegistry timeLimits = TimeLimiterRegistry.ofDefaults();

    /* As a Spring application's management.metrics.distribution does by configuration. */
    static MeterFilter distribution(DistributionStatisticConfig more) {
        return new MeterFilter() {
            @Override
            public DistributionStatisticConfig configure(Meter.Id id, DistributionStatisticConfig config) {
                return id.getName().equals("resilience4j.circuitbreaker.calls") ? more.merge(config) : config;
            }
        };
    }

    Service(String timers) {
        if (timers.equals("histogram"))
            meters.config().meterFilter(distribution(DistributionStatisticConfig.builder().serviceLevelObjectives(
                (double) Duration.ofMillis(50).toNanos(), (double) Duration.ofMillis(250).toNanos(),
                (double) Duration.ofSeconds(1).toNanos()).build()));
        else if (timers.equals("quantiles"))
            meters.config().meterFilter(distribution(DistributionStatisticConfig.builder().percentiles(0.5, 0.99).build()));
        for (String name : new String[] {"payments", "ledger"})
            breakers.circuitBreaker(name);
        retries.retry("payments");
        bulkheads.bulkhead("payments");
        limiters.rateLimiter("payments");
        timeLimits.timeLimiter("payments");
        TaggedCircuitBreakerMetrics.ofCircuitBreakerRegistry(breakers).bindTo(meters);
        TaggedRetryMetrics.ofRetryRegistry(retries).bindTo(meters);
        TaggedBulkheadMetrics.ofBulkheadRegistry(bulkheads).bindTo(meters);
        TaggedRateLimiterMetrics.ofRateLimiterRegistry(limiters).bindTo(meters);
        TaggedTimeLimiterMetrics.ofTimeLimiterRegistry(timeLimits).bindTo(meters);
    }

    void answer(HttpExchange exchange, boolean negotiates) throws IOException {
        String accept = exchange.getRequestHeaders().getFirst("Accept");
        String type = negotiates && accept != null && accept.contains("openmetrics-text") ? OPENMETRICS : TEXT;
        byte[] body;
        try {
            body = meters.scrape(type).getBytes(StandardCharsets.UTF_8);
        } catch (Throwable problem) { // the server would end the connection in silence
            problem.printStackTrace();
            throw problem;
        }
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.sendResponseHeaders(200, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }

    String call(CircuitBreaker breaker, String outcome, long ms) {
        if (!breaker.tryAcquirePermission())
            return "rejected";
        switch (outcome) {
            case "success" -> breaker.onSuccess(ms, TimeUnit.MILLISECONDS);
            case "failure" -> breaker.onError(ms, TimeUnit.MILLISECONDS, new RuntimeException());
            default -> breaker.onError(ms, TimeUnit.MILLISECONDS, new Ignored());
        }
        return "admitted";
    }

    static void set(CircuitBreaker breaker, String state) {
        switch (state) {
            case "closed" -> breaker.transitionToClosedState();
            case "open" -> breaker.transitionToOpenState();
            case "half_open" -> breaker.transitionToHalfOpenState();
            case "forced_open" -> breaker.transitionToForcedOpenState();
            case "disabled" -> breaker.transitionToDisabledState();
            default -> breaker.transitionToMetricsOnlyState();
        }
    }

    String tell(String[] words) {
        switch (words[0]) {
            case "call":
                return call(breakers.circuitBreaker(words[1]), words[2], Long.parseLong(words[3]));
            case "state":
                set(breakers.circuitBreaker(words[1]), words[2]);
                return breakers.circuitBreaker(words[1]).getState().name();
            case "retry":
                try {
                    retries.retry("payments").executeRunnable(() -> {
                        if (words[1].equals("failure"))
                            throw new RuntimeException();
                    });
                    return "done";
                } catch (RuntimeException problem) {
                    return "failed";
                }
            case "timeout":
                timeLimits.timeLimiter("payments").onError(new java.util.concurrent.TimeoutException());
                return "done";
            default:
                return "?";
        }
    }

    public static void main(String[] args) throws IOException {
        Service service = new Service(args[0]);
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/metrics", exchange -> service.answer(exchange, true));
        server.createContext("/plain", exchange -> service.answer(exchange, false));
        server.start();
        System.out.println(server.getAddress().getPort());
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line; (line = in.readLine()) != null;)
            System.out.println(service.tell(line.split(" ")));
        server.stop(0);
    }
}
