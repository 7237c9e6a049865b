// A collector of traces: takes OTLP over HTTP as JSON, as a real one does, and remembers the spans.
//
//   await using collector = await OtlpCollector.start();
//   // … an agent with --otlp-endpoint collector.url …
//   const spans = await collector.until((spans) => spans.some(({ name }) => name === 'pull'));
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

type Value = string | number | boolean;

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** 1 internal, 2 server, 3 client. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, Value>>;
  readonly events: readonly { name: string; attributes: Readonly<Record<string, Value>> }[];
  readonly links: readonly { traceId: string; spanId: string }[];
  /** Of an error. */
  readonly error: string | undefined;
  readonly resource: Readonly<Record<string, Value>>;
}

interface Attribute {
  key: string;
  value: { stringValue?: string; boolValue?: boolean; intValue?: number | string; doubleValue?: number };
}

interface SentSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  attributes?: Attribute[];
  events?: { name: string; attributes?: Attribute[] }[];
  links?: { traceId: string; spanId: string }[];
  status?: { code?: number; message?: string };
}

interface SentTraces {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: SentSpan[] }[] }[];
}

const WAIT_MS = 20_000;

export class OtlpCollector implements AsyncDisposable {
  /** Everything that was sent, as text. */
  sent = '';
  readonly spans: CollectedSpan[] = [];
  readonly #server: Server;
  readonly #answers: boolean;
  #port = 0;

  private constructor(answers: boolean) {
    this.#answers = answers;
    this.#server = createServer((request, response) => {
      if (!this.#answers) return;
      void this.#take(request).then((status) =>
        response.writeHead(status, { 'content-type': 'application/json' }).end('{}'),
      );
    });
  }

  /** @param options.answers false: takes requests, and never says anything. @default true */
  static async start({ answers = true }: { answers?: boolean } = {}): Promise<OtlpCollector> {
    const collector = new OtlpCollector(answers);
    collector.#server.listen(0, '127.0.0.1');
    await once(collector.#server, 'listening');
    collector.#port = (collector.#server.address() as AddressInfo).port;
    return collector;
  }

  /** Also after it has gone. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** @throws Error when that does not come within 20 s */
  async until(condition: (spans: readonly CollectedSpan[]) => boolean): Promise<readonly CollectedSpan[]> {
    for (const endMs = Date.now() + WAIT_MS; !condition(this.spans); await sleep(50)) {
      if (Date.now() > endMs) throw new Error(`only ${this.spans.map(({ name }) => name)} came`);
    }
    return this.spans;
  }

  async #take(request: IncomingMessage): Promise<number> {
    const isTraces = request.method === 'POST' && request.url === '/v1/traces';
    if (!isTraces || request.headers['content-type'] !== 'application/json') return 404;
    let text = '';
    for await (const chunk of request.setEncoding('utf8')) text += chunk;
    this.sent += text;
    for (const { resource, scopeSpans } of (JSON.parse(text) as SentTraces).resourceSpans) {
      for (const { spans } of scopeSpans) {
        for (const span of spans) this.spans.push({ ...read(span), resource: valuesOf(resource.attributes) });
      }
    }
    return 200;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

function read(span: SentSpan): Omit<CollectedSpan, 'resource'> {
  const { traceId, spanId, parentSpanId, name, kind, attributes = [], events = [], links = [], status } = span;
  return {
    traceId,
    spanId,
    parentSpanId: parentSpanId === '' ? undefined : parentSpanId,
    name,
    kind,
    attributes: valuesOf(attributes),
    events: events.map((event) => ({ name: event.name, attributes: valuesOf(event.attributes ?? []) })),
    links: links.map((link) => ({ traceId: link.traceId, spanId: link.spanId })),
    error: status?.code === 2 ? status.message : undefined,
  };
}

function valuesOf(attributes: readonly Attribute[]): Record<string, Value> {
  return Object.fromEntries(
    attributes.map(({ key, value: { stringValue, boolValue, intValue, doubleValue } }) => [
      key,
      stringValue ?? boolValue ?? (intValue === undefined ? (doubleValue ?? '') : Number(intValue)),
    ]),
  );
}
