import { describe, expect, it } from 'vitest';
import { OriginError } from '../origin/origin-client.ts';
import {
  blob,
  content,
  digest,
  never,
  PIECE_BYTES,
  ScriptedOrigin,
  ScriptedTracker,
  source,
} from '../pull/scripted-sources.fixture.ts';
import { PullTrace } from './pull-trace.ts';
import type { Span, SpanAttributes } from './span.ts';

/** A span that keeps what it was told. */
class RecordedSpan implements Span {
  readonly name: string;
  readonly children: RecordedSpan[] = [];
  readonly events: { name: string; attributes: SpanAttributes }[] = [];
  attributes: SpanAttributes;
  ends: (string | undefined)[] = [];

  constructor(name: string, attributes: SpanAttributes = {}) {
    this.name = name;
    this.attributes = attributes;
  }

  child(name: string, _kind: string, attributes?: SpanAttributes): RecordedSpan {
    const span = new RecordedSpan(name, attributes);
    this.children.push(span);
    return span;
  }

  set(attributes: SpanAttributes): void {
    this.attributes = { ...this.attributes, ...attributes };
  }

  event(name: string, attributes: SpanAttributes = {}): void {
    this.events.push({ name, attributes });
  }

  link(): void {}

  end(error?: string): void {
    this.ends.push(error);
  }
}

function stage(): { trace: PullTrace; pull: RecordedSpan; tracker: ScriptedTracker; origin: ScriptedOrigin } {
  const request = new RecordedSpan('request');
  const tracker = new ScriptedTracker();
  const origin = new ScriptedOrigin();
  const dependencies = { tracker: tracker.client, origin: origin.client, now: () => 0 };
  const trace = new PullTrace(request, { blob, sizeBytes: content.length }, dependencies);
  return { trace, pull: request.children[0]!, tracker, origin };
}

const lease = { blob, sizeBytes: content.length, starved: false };

describe('the span of a pull', () => {
  it('names sixteen peers, and counts what came from all', () => {
    const { trace, pull } = stage();
    for (let piece = 0; piece < 1_000; piece++) trace.pieceKept(`peer-${piece % 40}`, 10);
    trace.pieceKept('origin', 7);
    trace.pieceFailed('busy');
    trace.end('done', 'both');
    expect(pull.attributes).toMatchObject({
      'shoal.peers.pieces': 1_000,
      'shoal.peers.bytes': 10_000,
      'shoal.origin.bytes': 7,
      'shoal.peers.failures.busy': 1,
    });
    expect(pull.events.filter(({ name }) => name === 'peer')).toHaveLength(16);
    expect(pull.events.find(({ name }) => name === 'other peers')?.attributes).toEqual({
      'shoal.pieces': 600,
      'shoal.bytes': 6_000,
    });
    expect(pull.events.filter(({ name }) => name === 'first piece')).toHaveLength(1);
  });

  it('has 256 spans below it at most, and says how many were left out', async () => {
    const { trace, pull } = stage();
    for (let call = 0; call < 300; call++) await trace.tracker.lease(lease);
    trace.end('done', 'none');
    expect(pull.children).toHaveLength(256);
    expect(pull.attributes['shoal.spans_left_out']).toBe(44);
  });
});

describe('a request to the registry', () => {
  const call = { signal: never, pullId: 'test' };

  it('names the lease that it is made under, and ends with the body', async () => {
    const { trace, pull, tracker } = stage();
    tracker.onLease = () => ({ from: 2, to: 4 });
    await trace.tracker.lease(lease);
    const range = { offset: 2 * PIECE_BYTES, end: 4 * PIECE_BYTES };
    const body = await trace.origin.blob(source.repository, digest, range, call);
    const run = pull.children.at(-1)!;
    expect(run.attributes).toMatchObject({ 'shoal.lease.kind': 'origin', 'http.response.status_code': 206 });
    expect(run.attributes['shoal.lease.id']).toBe(pull.children[0]!.attributes['shoal.lease.id']);
    for await (const _ of body.chunks) expect(run.ends).toEqual([]);
    expect(run.ends[0]).toBeUndefined();
    expect(run.ends.length).toBeGreaterThan(0);
    expect(run.attributes['shoal.bytes']).toBe(2 * PIECE_BYTES);
    // Nobody leased what comes before.
    const other = await trace.origin.blob(source.repository, digest, { offset: 0, end: PIECE_BYTES }, call);
    expect(pull.children.at(-1)!.attributes).not.toHaveProperty('shoal.lease.id');
    other.close();
  });

  it('that fails has the code of the error, and nothing of its text', async () => {
    const { trace, pull, origin } = stage();
    origin.onOpen = () => {
      throw new OriginError('unavailable', 'https://cdn.test/?signature=hunter2', { status: 503 });
    };
    const reading = trace.origin.blob(source.repository, digest, { offset: 0 }, call);
    await expect(reading).rejects.toThrow('hunter2');
    const run = pull.children.at(-1)!;
    expect(run.ends).toEqual(['unavailable']);
    expect(JSON.stringify([run.attributes, run.events])).not.toContain('hunter2');
    expect(run.attributes['http.response.status_code']).toBe(503);
  });
});
