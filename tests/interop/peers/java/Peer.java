// SPDX-License-Identifier: Apache-2.0
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.baggage.Baggage;
import io.opentelemetry.api.baggage.BaggageBuilder;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.Tracer;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.TextMapGetter;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import io.opentelemetry.sdk.trace.ReadWriteSpan;
import io.opentelemetry.sdk.trace.ReadableSpan;
import io.opentelemetry.sdk.trace.SpanProcessor;
import io.opentelemetry.sdk.trace.data.LinkData;
import io.opentelemetry.sdk.trace.data.SpanData;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * The peer on the OpenTelemetry SDK for Java; ../README.md says what it is told and what it tells. Here is what all
 * transports share: the SDK and its spans. The transports are in Calls.java and Messages.java.
 */
final class Peer {
    /** One half of a hop. */
    interface Half {
        void run(Peer peer) throws Exception;
    }

    /** What runs in the root span, and injects unless a library does. */
    interface Sending {
        void run() throws Exception;
    }

    private static final Gson JSON = new GsonBuilder().disableHtmlEscaping().create();
    private static final PrintStream OUT =
        new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    private static final TextMapGetter<Map<String, List<String>>> GETTER = new ListGetter();

    final String role;
    final String transport;
    final String host;
    final int port;
    final String destination;
    Duration timeout = Duration.ofSeconds(30);
    final OpenTelemetry sdk;
    final Tracer tracer;
    private final Kept kept = new Kept();
    private Context given = Context.root();
    private final CountDownLatch answered = new CountDownLatch(1);
    private volatile Object answer;

    private Peer(String[] args) {
        role = args[0];
        transport = args[1];
        int colon = args[2].lastIndexOf(':');
        host = args[2].substring(0, colon);
        port = Integer.parseInt(args[2].substring(colon + 1));
        destination = args[3];
        parseOptions(args);
        Map<String, String> settings = new LinkedHashMap<>();
        for (String signal : List.of("traces", "metrics", "logs"))
            settings.put("otel." + signal + ".exporter", "none");
        sdk = AutoConfiguredOpenTelemetrySdk.builder()
                  .addPropertiesSupplier(() -> settings)
                  .addTracerProviderCustomizer((builder, config) -> builder.addSpanProcessor(kept))
                  .setResultAsGlobal()
                  .build()
                  .getOpenTelemetrySdk();
        tracer = sdk.getTracer("sonde.interop");
    }

    private void parseOptions(String[] args) {
        Map<String, List<String>> parent = new TreeMap<>();
        BaggageBuilder baggage = Baggage.builder();
        for (int i = 4; i < args.length; i++) {
            int equals = args[i].indexOf('=');
            String name = equals < 0 ? args[i] : args[i].substring(0, equals);
            String value = equals < 0 ? args[++i] : args[i].substring(equals + 1);
            switch (name) {
                case "--parent" -> parent.put("traceparent", List.of(value));
                case "--tracestate" -> parent.put("tracestate", List.of(value));
                case "--baggage" -> baggage.put(value.split("=", 2)[0], value.split("=", 2)[1]);
                case "--timeout" -> timeout = Duration.ofMillis((long) (Double.parseDouble(value) * 1000));
                default -> throw new IllegalArgumentException(name);
            }
        }
        given = W3CTraceContextPropagator.getInstance().extract(given, parent, GETTER).with(baggage.build());
    }

    void ready() {
        OUT.println("ready");
    }

    void ready(int port) {
        OUT.println("ready " + port);
    }

    /** The half of call and send. */
    void act(Sending sending) throws Exception {
        try (Scope start = given.makeCurrent()) {
            Span root = tracer.spanBuilder("root").startSpan();
            try (Scope scope = root.makeCurrent()) {
                sending.run();
                ReadableSpan sent = kept.last(SpanKind.CLIENT, SpanKind.PRODUCER);
                answer(Map.of("root", told(root), "sent", sent != null ? told(sent) : told(root), "baggage",
                              told(Baggage.current())));
            } finally {
                root.end();
            }
        }
    }

    /** Where no library injects: what the carrier must have. */
    Map<String, String> injected() {
        Map<String, String> carrier = new LinkedHashMap<>();
        sdk.getPropagators().getTextMapPropagator().inject(Context.current(), carrier, Map::put);
        return carrier;
    }

    Context extract(Map<String, List<String>> carrier) {
        return sdk.getPropagators().getTextMapPropagator().extract(Context.root(), carrier, GETTER);
    }

    /** Where no library extracts: from what came. */
    void extracted(Map<String, String> carrier) {
        Map<String, List<String>> lists = new LinkedHashMap<>();
        carrier.forEach((name, value) -> lists.put(name, List.of(value)));
        extractedLists(lists);
    }

    void extractedLists(Map<String, List<String>> carrier) {
        Context came = extract(carrier);
        Span span = tracer.spanBuilder("process")
                        .setParent(came)
                        .setSpanKind(role.equals("serve") ? SpanKind.SERVER : SpanKind.CONSUMER)
                        .startSpan();
        span.end();
        tookFrom(told(span), Span.fromContext(came).getSpanContext(), Baggage.fromContext(came));
    }

    /** Called where the library's server span is current. */
    void took() {
        SpanContext seen = SpanContext.getInvalid();
        if (Span.current() instanceof ReadableSpan span)
            seen = span.getParentSpanContext();
        tookFrom(told(Span.current()), seen, Baggage.current());
    }

    /** The library's consumer span is the last one of that kind; the library gives its user no baggage. */
    void tookFromLibrary(Baggage baggage) {
        ReadableSpan span = kept.last(SpanKind.CONSUMER, SpanKind.CONSUMER);
        tookFrom(told(span), span.getParentSpanContext(), baggage);
    }

    private void tookFrom(Map<String, Object> parent, SpanContext seen, Baggage baggage) {
        Map<String, Object> spans = new LinkedHashMap<>();
        spans.put("parent", parent);
        if (role.equals("receive")) {
            Span batch =
                tracer.spanBuilder("batch").setNoParent().setSpanKind(SpanKind.CONSUMER).addLink(seen).startSpan();
            batch.end();
            spans.put("link", told(batch));
        }
        answer(Map.of("seen", told(seen), "baggage", told(baggage), "spans", spans));
    }

    private void answer(Object told) {
        answer = told;
        answered.countDown();
    }

    boolean awaitAnswer() throws InterruptedException {
        return answered.await(timeout.toMillis(), TimeUnit.MILLISECONDS);
    }

    boolean isAnswered() {
        return answer != null;
    }

    private static Map<String, Object> told(SpanContext context) {
        List<String> members = new ArrayList<>();
        context.getTraceState().forEach((key, value) -> members.add(key + "=" + value));
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("trace_id", context.getTraceId());
        told.put("span_id", context.getSpanId());
        told.put("flags", context.getTraceFlags().asByte() & 0xff);
        told.put("tracestate", String.join(",", members));
        return told;
    }

    /** Of a span that is not recorded there is only the context. */
    private static Map<String, Object> told(Span span) {
        return span instanceof ReadableSpan recorded ? told(recorded) : told(span.getSpanContext());
    }

    private static Map<String, Object> told(ReadableSpan span) {
        SpanData data = span.toSpanData();
        List<Object> links = new ArrayList<>();
        for (LinkData link : data.getLinks())
            links.add(told(link.getSpanContext()));
        Map<String, Object> told = told(data.getSpanContext());
        told.put("name", data.getName());
        told.put("kind", data.getKind().name().toLowerCase());
        told.put("parent_span_id", data.getParentSpanContext().isValid() ? data.getParentSpanId() : "");
        told.put("links", links);
        return told;
    }

    private static Map<String, String> told(Baggage baggage) {
        Map<String, String> told = new LinkedHashMap<>();
        baggage.forEach((key, entry) -> told.put(key, entry.getValue()));
        return told;
    }

    /** Ends the process when nothing else does. */
    private void watch() {
        Thread watch = new Thread(() -> {
            try {
                Thread.sleep(timeout.toMillis() + 1000);
            } catch (InterruptedException e) {
                return;
            }
            System.err.println("nothing came");
            Runtime.getRuntime().halt(1);
        });
        watch.setDaemon(true);
        watch.start();
    }

    public static void main(String[] args) {
        int status = 1;
        try {
            Half half = Calls.find(args[0], args[1]);
            if (half == null)
                half = Messages.find(args[0], args[1]);
            if (half == null) {
                System.err.println("no " + args[0] + " over " + args[1]);
                System.exit(77);
            }
            Peer peer = new Peer(args);
            peer.watch();
            half.run(peer);
            if (peer.isAnswered()) {
                OUT.println(JSON.toJson(peer.answer));
                status = 0;
            }
        } catch (Throwable e) {
            e.printStackTrace();
        }
        System.exit(status); // client libraries have threads that stay
    }

    /** Remembers every span that is started. */
    private static final class Kept implements SpanProcessor {
        private final List<ReadableSpan> spans = new CopyOnWriteArrayList<>();

        @Override
        public void onStart(Context parent, ReadWriteSpan span) {
            spans.add(span);
        }

        @Override
        public boolean isStartRequired() {
            return true;
        }

        @Override
        public void onEnd(ReadableSpan span) {
        }

        @Override
        public boolean isEndRequired() {
            return false;
        }

        ReadableSpan last(SpanKind one, SpanKind other) {
            for (int i = spans.size() - 1; i >= 0; i--)
                if (spans.get(i).getKind() == one || spans.get(i).getKind() == other)
                    return spans.get(i);
            return null;
        }
    }

    private static final class ListGetter implements TextMapGetter<Map<String, List<String>>> {
        @Override
        public Iterable<String> keys(Map<String, List<String>> carrier) {
            return carrier.keySet();
        }

        @Override
        public String get(Map<String, List<String>> carrier, String key) {
            List<String> values = carrier.get(key);
            return values == null || values.isEmpty() ? null : values.get(0);
        }

        @Override
        public Iterator<String> getAll(Map<String, List<String>> carrier, String key) {
            return carrier.getOrDefault(key, List.of()).iterator();
        }
    }
}
