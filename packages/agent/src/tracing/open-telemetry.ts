/**
 * Spans by OpenTelemetry's own libraries, sent as OTLP over HTTP. The only file that imports them, and itself imported only
 * when an endpoint is configured.
 *
 * What a span costs a pull is the object. Sending is apart from it: ended spans wait in a bounded queue (`counted-spans.ts`), are
 * sent in batches, each within a deadline, and what the collector does not take in that time is dropped and counted.
 */

import type { Attributes, Tracer } from '@opentelemetry/api';
import { type Context, type Span as OtelSpan, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { CountedSpans, type CountedSpansEvents } from './counted-spans.ts';
import type { SpanKind as Kind, RequestTracer, Span, SpanAttributes } from './span.ts';

const MAX_QUEUED_SPANS = 2_048;
const MAX_BATCH_SPANS = 256;
const SEND_EVERY_MS = 2_000;
/** For one batch, with its repetitions. */
const SEND_DEADLINE_MS = 3_000;
/** How long an agent that stops waits for the collector. */
const CLOSE_DEADLINE_MS = 2_000;
const PARALLEL_REQUESTS = 4;
const LIMITS = {
  attributeValueLengthLimit: 512,
  attributeCountLimit: 64,
  eventCountLimit: 64,
  linkCountLimit: 16,
  attributePerEventCountLimit: 16,
};
const KINDS: Record<Kind, SpanKind> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
};

export interface TracingOptions {
  /** Base address of the collector; `v1/traces` is added. */
  endpoint: string;
  /** Of the requests that bring no trace of their own, the share that begins one: 0 to 1. */
  sampleRatio: number;
  version: string;
  /** Of the agent. */
  peerId: string;
  name: string;
  zone: string;
}

export interface Tracing extends RequestTracer {
  /** Sends what waits, for two seconds at most; the rest is dropped. */
  close(): Promise<void>;
}

export function startTracing(options: TracingOptions, events: CountedSpansEvents): Tracing {
  const { endpoint, sampleRatio, version, peerId, name, zone } = options;
  const exporter = new OTLPTraceExporter({
    url: tracesUrl(endpoint),
    timeoutMillis: SEND_DEADLINE_MS,
    concurrencyLimit: PARALLEL_REQUESTS,
  });
  const counted = new CountedSpans({ maxQueued: MAX_QUEUED_SPANS }, { exporter, ...events });
  const batches = new BatchSpanProcessor({
    exporter: counted,
    maxQueueSize: MAX_QUEUED_SPANS,
    maxExportBatchSize: MAX_BATCH_SPANS,
    scheduledDelayMillis: SEND_EVERY_MS,
    exportTimeoutMillis: 2 * SEND_DEADLINE_MS,
  });
  const provider = new TracerProvider({
    resource: resourceFromAttributes({
      'service.name': 'shoal-agent',
      'service.version': version,
      'service.instance.id': peerId,
      'host.name': name,
      'shoal.zone': zone,
    }),
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }),
    spanLimits: LIMITS,
    spanProcessors: [counted.before(batches)],
  });
  const tracer = provider.getTracer('shoal', version);
  const propagator = new W3CTraceContextPropagator();
  return {
    request(headers, spanName, attributes) {
      const parent = propagator.extract(ROOT_CONTEXT, headers, {
        get: (carrier, key) => carrier[key],
        keys: (carrier) => Object.keys(carrier),
      });
      const span = OpenTelemetrySpan.begin(tracer, parent, spanName, 'server', attributes);
      return span.isRecording ? span : undefined;
    },
    async close() {
      const late = Promise.withResolvers<void>();
      const timer = setTimeout(() => late.resolve(), CLOSE_DEADLINE_MS);
      // A collector that is away was told of when it was first missed; what it did not take is counted.
      await Promise.race([provider.shutdown().catch(() => undefined), late.promise]);
      clearTimeout(timer);
    },
  };
}

/** As OpenTelemetry has it for the base address of all signals; an address that names this signal is taken as it is. */
function tracesUrl(endpoint: string): string {
  const url = new URL(endpoint);
  const path = url.pathname.replace(/\/+$/, '');
  url.pathname = path.endsWith('/v1/traces') ? path : `${path}/v1/traces`;
  return url.href;
}

class OpenTelemetrySpan implements Span {
  readonly #tracer: Tracer;
  readonly #span: OtelSpan;

  private constructor(tracer: Tracer, span: OtelSpan) {
    this.#tracer = tracer;
    this.#span = span;
  }

  static begin(
    tracer: Tracer,
    parent: Context,
    name: string,
    kind: Kind,
    attributes: SpanAttributes = {},
  ): OpenTelemetrySpan {
    const span = tracer.startSpan(name, { kind: KINDS[kind], attributes: present(attributes) }, parent);
    return new OpenTelemetrySpan(tracer, span);
  }

  get isRecording(): boolean {
    return this.#span.isRecording();
  }

  child(name: string, kind: Kind, attributes?: SpanAttributes): Span {
    return OpenTelemetrySpan.begin(this.#tracer, trace.setSpan(ROOT_CONTEXT, this.#span), name, kind, attributes);
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes(present(attributes));
  }

  event(name: string, attributes: SpanAttributes = {}): void {
    this.#span.addEvent(name, present(attributes));
  }

  link(other: Span): void {
    if (other instanceof OpenTelemetrySpan) this.#span.addLink({ context: other.#span.spanContext() });
  }

  end(error?: string): void {
    if (!this.#span.isRecording()) return;
    if (error !== undefined) this.#span.setStatus({ code: SpanStatusCode.ERROR, message: error });
    this.#span.end();
  }
}

function present(attributes: SpanAttributes): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== undefined));
}
