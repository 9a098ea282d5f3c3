/* SPDX-License-Identifier: Apache-2.0 */
/* Resilience4j's circuit breaker under a clock of ours. Reads scripts on standard input, a line each, and answers each with
 * a line: what breaker_twin.c says of Sonde's with the same script (breaker_oracle_test.py compares; the format is told
 * there).
 *
 * Where Sonde differs on purpose (include/sonde/resilience/breaker.h says so), Resilience4j is brought to the same here:
 *   late results    of calls that were admitted before the last change of state are not handed in: there they count in
 *                   whatever state it is now, and may decide it.
 *   OPEN            shows nothing of its window here, since Sonde's counts from nothing in each state; there it keeps
 *                   the one that opened it.
 *   half-open time  is looked at when a call asks; there a timer fires.
 *   automatic       change to HALF_OPEN by a timer: Sonde makes the same change when somebody asks for a call, so until
 *                   then HALF_OPEN is shown as OPEN.
 *   METRICS_ONLY    to OPEN is refused there: no script does it (the twin leaves it out, too).
 * That the wait is over only after it, not with it, is the twin's to map: its waits are a microsecond longer. */
import io.github.resilience4j.circuitbreaker.CircuitBreaker;
import io.github.resilience4j.circuitbreaker.CircuitBreaker.State;
import io.github.resilience4j.circuitbreaker.CircuitBreakerConfig;
import io.github.resilience4j.core.IntervalFunction;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.Field;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

public final class Oracle {
    static final class Ignored extends RuntimeException { }

    static final RuntimeException FAILURE = new RuntimeException();
    static final Ignored IGNORED = new Ignored();

    static final class Time extends Clock {
        long ms;

        @Override public Instant instant() { return Instant.ofEpochMilli(ms); }
        @Override public long millis() { return ms; }
        @Override public ZoneId getZone() { return ZoneOffset.UTC; }
        @Override public Clock withZone(ZoneId zone) { return this; }
    }

    static final class Timer {
        final Runnable task;
        final long dueMs;
        boolean done;

        Timer(Runnable task, long dueMs) {
            this.task = task;
            this.dueMs = dueMs;
        }
    }

    /* The timers of all breakers, of which one is alive at a time. */
    static final Time TIME = new Time();
    static final List<Timer> TIMERS = new ArrayList<>();

    /* Puts our timers in the place of Resilience4j's thread: its factory has no way in. */
    static void takeTimers() throws ReflectiveOperationException {
        ClassLoader loader = Oracle.class.getClassLoader();
        Object scheduler = Proxy.newProxyInstance(loader, new Class<?>[] {ScheduledExecutorService.class}, (self, method, args) -> {
            if (!method.getName().equals("schedule"))
                throw new UnsupportedOperationException(method.getName());
            Timer timer = new Timer((Runnable) args[0], TIME.ms + ((TimeUnit) args[2]).toMillis((Long) args[1]));
            TIMERS.add(timer);
            return Proxy.newProxyInstance(loader, new Class<?>[] {ScheduledFuture.class}, (future, call, unused) ->
                switch (call.getName()) {
                    case "cancel" -> !timer.done && (timer.done = true);
                    case "isDone" -> timer.done;
                    default -> throw new UnsupportedOperationException(call.getName());
                });
        });
        Class<?> holder = Class.forName("io.github.resilience4j.circuitbreaker.internal.SchedulerFactory$SchedulerFactoryInstance",
                                        true, loader);
        Field field = holder.getDeclaredField("lazyScheduler");
        Field found = sun.misc.Unsafe.class.getDeclaredField("theUnsafe");
        found.setAccessible(true);
        sun.misc.Unsafe unsafe = (sun.misc.Unsafe) found.get(null);
        unsafe.putObject(unsafe.staticFieldBase(field), unsafe.staticFieldOffset(field), scheduler);
    }

    final CircuitBreaker breaker;
    final boolean automatic;
    final List<Integer> permits = new ArrayList<>(); // of calls under way: the epochs they were admitted in
    int epoch;
    boolean told; // in METRICS_ONLY: a threshold was reached
    boolean untouched; // HALF_OPEN by a timer, and nobody has asked since
    long rejectedBefore; // when it became so
    long carried; // rejections in OPEN that were counted before a HALF_OPEN that nobody saw

    Oracle(Map<String, Long> config) {
        automatic = config.get("automatic") == 1;
        long wait = config.get("wait");
        CircuitBreakerConfig.Builder builder = CircuitBreakerConfig.custom()
            .clock(TIME)
            .slidingWindowType(config.containsKey("calls") ? CircuitBreakerConfig.SlidingWindowType.COUNT_BASED
                                                           : CircuitBreakerConfig.SlidingWindowType.TIME_BASED)
            .slidingWindowSize((int) (long) config.getOrDefault("calls", config.get("seconds")))
            .minimumNumberOfCalls((int) (long) config.get("minimum"))
            .failureRateThreshold(config.get("failures"))
            .slowCallRateThreshold(config.get("slow"))
            .slowCallDurationThreshold(Duration.ofMillis(config.get("slow_ms")))
            .permittedNumberOfCallsInHalfOpenState((int) (long) config.get("probes"))
            .maxWaitDurationInHalfOpenState(Duration.ofMillis(config.get("half_open")))
            .automaticTransitionFromOpenToHalfOpenEnabled(automatic)
            .ignoreExceptions(Ignored.class);
        if (config.get("factor") == 10)
            builder.waitDurationInOpenState(Duration.ofMillis(wait));
        else
            builder.waitIntervalFunctionInOpenState(
                IntervalFunction.ofExponentialBackoff(wait, config.get("factor") / 10.0, config.get("wait_max")));
        breaker = CircuitBreaker.of("oracle", builder.build());
        breaker.getEventPublisher().onStateTransition(event -> changed()).onFailureRateExceeded(event -> told = true)
            .onSlowCallRateExceeded(event -> told = true);
    }

    void changed() {
        epoch++;
        told = false;
        untouched = false;
        if (breaker.getState() != State.OPEN)
            carried = 0;
    }

    /* Runs what is due, in its order and at its time. */
    void timersRun() {
        for (;;) {
            Timer next = null;
            for (Timer timer : TIMERS)
                if (!timer.done && timer.dueMs <= TIME.ms && (next == null || timer.dueMs < next.dueMs))
                    next = timer;
            TIMERS.removeIf(timer -> timer.done);
            if (next == null)
                return;
            next.done = true;
            next.task.run();
        }
    }

    void advance(long ms) {
        TIME.ms += ms;
        if (!automatic)
            return;
        long rejected = carried + breaker.getMetrics().getNumberOfNotPermittedCalls();
        State before = breaker.getState();
        timersRun();
        if (before == State.OPEN && breaker.getState() == State.HALF_OPEN) {
            untouched = true;
            rejectedBefore = rejected;
        }
    }

    boolean acquire() {
        untouched = false;
        if (breaker.getState() == State.HALF_OPEN && !automatic)
            timersRun();
        boolean admitted = breaker.tryAcquirePermission();
        if (admitted)
            permits.add(epoch);
        return admitted;
    }

    void report(char what, String rest) {
        String[] parts = rest.split(":");
        if (permits.isEmpty())
            return;
        int admittedIn = permits.remove(Integer.parseInt(parts[0]) % permits.size());
        if (admittedIn != epoch)
            return;
        if (what == 'x') {
            breaker.releasePermission();
            return;
        }
        long ms = Long.parseLong(parts[1]);
        if (what == 's')
            breaker.onSuccess(ms, TimeUnit.MILLISECONDS);
        else
            breaker.onError(ms, TimeUnit.MILLISECONDS, what == 'e' ? FAILURE : IGNORED);
    }

    void set(String what) {
        switch (what.charAt(0)) {
            case 'C' -> breaker.transitionToClosedState();
            case 'F' -> breaker.transitionToForcedOpenState();
            case 'D' -> breaker.transitionToDisabledState();
            case 'M' -> breaker.transitionToMetricsOnlyState();
            default -> {
                long ms = Long.parseLong(what.substring(1));
                if (breaker.getState() == State.METRICS_ONLY)
                    return;
                if (untouched)
                    carried = rejectedBefore;
                if (ms == 0)
                    breaker.transitionToOpenState();
                else
                    breaker.transitionToOpenStateFor(Duration.ofMillis(ms));
            }
        }
        changed(); // into the same state there is no event
    }

    String step(String operation) {
        String result = "";
        switch (operation.charAt(0)) {
            case 'a' -> result = acquire() ? "+" : "-";
            case 's', 'e', 'i', 'x' -> report(operation.charAt(0), operation.substring(1));
            case 't' -> advance(Long.parseLong(operation.substring(1)));
            default -> set(operation);
        }
        CircuitBreaker.Metrics metrics = breaker.getMetrics();
        State state = untouched ? State.OPEN : breaker.getState();
        long rejected = untouched ? rejectedBefore : carried + metrics.getNumberOfNotPermittedCalls();
        String shown = result + "COHFDM".charAt(List.of(State.CLOSED, State.OPEN, State.HALF_OPEN, State.FORCED_OPEN, State.DISABLED,
                                                        State.METRICS_ONLY).indexOf(state)) + rejected;
        if (state == State.OPEN)
            return shown;
        shown += "/" + metrics.getNumberOfBufferedCalls() + "/" + metrics.getNumberOfFailedCalls() + "/" + metrics.getNumberOfSlowCalls();
        if (metrics.getFailureRate() >= 0)
            shown += "/" + Math.round(metrics.getFailureRate() * 10) + "/" + Math.round(metrics.getSlowCallRate() * 10);
        return state == State.METRICS_ONLY && told ? shown + "!" : shown;
    }

    public static void main(String[] args) throws Exception {
        takeTimers();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        for (String line; (line = in.readLine()) != null;) {
            String[] halves = line.split("\t");
            Map<String, Long> config = new java.util.HashMap<>();
            for (String setting : halves[0].split(" "))
                config.put(setting.split("=")[0], Long.parseLong(setting.split("=")[1]));
            TIMERS.clear();
            TIME.ms = config.get("start");
            Oracle oracle = new Oracle(config);
            StringBuilder answer = new StringBuilder();
            for (String operation : halves[1].split(" "))
                answer.append(answer.length() == 0 ? "" : " ").append(oracle.step(operation));
            out.println(answer);
        }
        out.flush();
    }
}
