// SPDX-License-Identifier: Apache-2.0
// The peer on the OpenTelemetry SDK for JavaScript; ../README.md says what it is told and what it tells.
//
//     node peer.js call|serve|send|receive TRANSPORT ADDRESS DESTINATION [OPTION...]
//
// Here is what all transports share: the SDK and its spans. The transports are in transports.js.
'use strict';
const { parseArgs } = require('node:util');
const { context, propagation, trace, ROOT_CONTEXT, SpanKind } = require('@opentelemetry/api');
const core = require('@opentelemetry/core');
const { registerInstrumentations } = require('@opentelemetry/instrumentation');
const { B3InjectEncoding, B3Propagator } = require('@opentelemetry/propagator-b3');
const { JaegerPropagator } = require('@opentelemetry/propagator-jaeger');
const { NodeTracerProvider } = require('@opentelemetry/sdk-trace-node');

const PROPAGATORS = {
  tracecontext: () => new core.W3CTraceContextPropagator(),
  baggage: () => new core.W3CBaggagePropagator(),
  b3: () => new B3Propagator(),
  b3multi: () => new B3Propagator({ injectEncoding: B3InjectEncoding.MULTI_HEADER }),
  jaeger: () => new JaegerPropagator(),
};
const started = []; // every span
let answer = null;

function toldContext(spanContext) {
  return {
    trace_id: spanContext.traceId,
    span_id: spanContext.spanId,
    flags: spanContext.traceFlags,
    tracestate: spanContext.traceState ? spanContext.traceState.serialize() : '',
  };
}

function toldSpan(span) {
  return {
    ...toldContext(span.spanContext()),
    name: span.name || '',
    kind: (SpanKind[span.kind] || '').toLowerCase(),
    parent_span_id: span.parentSpanContext ? span.parentSpanContext.spanId : '',
    links: (span.links || []).map((link) => toldContext(link.context)),
  };
}

function toldBaggage(within) {
  const entries = propagation.getBaggage(within);
  return Object.fromEntries((entries ? entries.getAllEntries() : []).map(([key, entry]) => [key, entry.value]));
}

function start(instrumentations) {
  const names = (process.env.OTEL_PROPAGATORS || 'tracecontext,baggage').split(',');
  const provider = new NodeTracerProvider({
    spanProcessors: [
      {
        onStart: (span) => started.push(span),
        onEnd() {},
        forceFlush: async () => {},
        shutdown: async () => {},
      },
    ],
  });
  const propagators = names.map((name) => PROPAGATORS[name]());
  provider.register({ propagator: new core.CompositePropagator({ propagators }) });
  registerInstrumentations({ instrumentations });
}

/** The context that the options describe: remote parent and baggage. */
function given(options) {
  let within = ROOT_CONTEXT;
  if (options.parent) {
    const [, traceId, spanId, flags] = options.parent.split('-');
    const traceState = options.tracestate ? new core.TraceState(options.tracestate) : undefined;
    const parent = { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true, traceState };
    within = trace.setSpanContext(within, parent);
  }
  const entries = options.baggage.map((text) => text.split(/=(.*)/s).slice(0, 2));
  if (entries.length > 0) {
    const baggage = Object.fromEntries(entries.map(([key, value]) => [key, { value }]));
    within = propagation.setBaggage(within, propagation.createBaggage(baggage));
  }
  return within;
}

const tracer = () => trace.getTracer('sonde.interop');

/** What a transport uses. */
class Peer {
  constructor(options) {
    this.options = options;
    this.taken = new Promise((resolve) => (this.resolve = resolve));
  }

  ready(port) {
    process.stdout.write(port === undefined ? 'ready\n' : `ready ${port}\n`);
  }

  /** Runs the transport's half of call or send in a root span. It injects, unless a library does. */
  async act(sends) {
    await context.with(given(this.options), () =>
      tracer().startActiveSpan('root', async (root) => {
        await sends();
        const sent = started.filter((span) => [SpanKind.CLIENT, SpanKind.PRODUCER].includes(span.kind));
        answer = { root: toldSpan(root), sent: toldSpan(sent.at(-1) || root), baggage: toldBaggage(context.active()) };
        root.end();
      }),
    );
  }

  /** Where no library injects: the carrier as a plain object. */
  injected() {
    const carrier = {};
    propagation.inject(context.active(), carrier);
    return carrier;
  }

  /** Called where the library's server or consumer span is current. */
  took(span = trace.getActiveSpan(), within = context.active()) {
    const seen = span.parentSpanContext || { traceId: '', spanId: '', traceFlags: 0 };
    const spans = { parent: toldSpan(span) };
    if (this.options.role === 'receive') {
      const batch = tracer().startSpan('batch', { kind: SpanKind.CONSUMER, links: [{ context: seen }] }, ROOT_CONTEXT);
      spans.link = toldSpan(batch);
      batch.end();
    }
    answer = { seen: toldContext(seen), baggage: toldBaggage(within), spans };
    this.resolve();
  }

  /** Where no library extracts: from a plain object of what came. */
  extracted(carrier) {
    const came = propagation.extract(ROOT_CONTEXT, carrier);
    const span = tracer().startSpan('process', { kind: SpanKind.CONSUMER }, came);
    this.took(span, came);
    span.end();
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      parent: { type: 'string' },
      tracestate: { type: 'string' },
      baggage: { type: 'string', multiple: true, default: [] },
      timeout: { type: 'string', default: '30' },
    },
  });
  const [role, transport, address, destination] = positionals;
  const transports = require('./transports.js');
  const run = transports[transport] && transports[transport][role];
  if (!run) {
    console.error(`no ${role} over ${transport}`);
    return 77;
  }
  start(transports[transport].instrumentations());
  setTimeout(() => {
    console.error('nothing came');
    process.exit(1);
  }, Number(values.timeout) * 1000).unref();
  const [host, port] = address.split(':');
  await run(new Peer({ ...values, role }), host, Number(port), destination);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
  return answer ? 0 : 1;
}

main().then(
  (status) => {
    process.exitCode = status;
  },
  (error) => {
    console.error(error);
    process.exit(error.code === 'MODULE_NOT_FOUND' ? 77 : 1); // a client may still hold the process
  },
);
