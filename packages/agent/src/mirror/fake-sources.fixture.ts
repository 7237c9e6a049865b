import type { Digest } from '@shoal/oci';
import { pino } from 'pino';
import type { Access, ReadRequest } from '../access/access.ts';
import { RepositoryAccess } from '../access/access.ts';
import { Admissions } from '../access/admission.ts';
import { anonymousLookups, FakeReferences, FakeUpstream, sha256 } from '../access/fake-upstream.fixture.ts';
import { memoryNotes } from '../access/memory-notes.fixture.ts';
import { ReferenceResolver } from '../access/reference-resolver.ts';
import type { Asker } from '../origin/asker.ts';
import { OriginError } from '../origin/origin-client.ts';
import type { BlobReader, PullSource, Pulls } from '../pull/pulls.ts';
import type { MirrorDependencies, RequestResult } from './mirror.ts';

export interface FakeBlob {
  bytes: Buffer;
  mediaType?: string;
  sizeUnknown?: boolean;
  /** Bodies throw after this many bytes. */
  failsAfterBytes?: number;
  /** Bodies wait for it before their first byte. */
  firstByte?: Promise<void>;
  chunkBytes?: number;
}

/** Pulls that hold blobs in memory and note how they are used. */
export class FakePulls implements Pulls {
  readonly blobs = new Map<Digest, FakeBlob>();
  readonly opened: { digest: Digest; source: PullSource; start: number }[] = [];
  readonly expected: Digest[] = [];
  readonly aborted: unknown[] = [];
  readers = 0;
  failure: Error | undefined;
  neverOpens = false;

  add(blob: FakeBlob): Digest {
    const digest = sha256(blob.bytes);
    this.blobs.set(digest, blob);
    return digest;
  }

  async open(digest: Digest, source: PullSource, start: number, signal: AbortSignal): Promise<BlobReader> {
    this.opened.push({ digest, source, start });
    if (this.failure !== undefined) throw this.failure;
    if (this.neverOpens) await aborted(signal);
    const blob = this.blobs.get(digest);
    if (blob === undefined) throw new OriginError('not-found', 'nobody has it');
    this.readers++;
    const known = blob.sizeUnknown === true ? source.sizeHintBytes : blob.bytes.length;
    return {
      digest,
      sizeBytes: known,
      mediaType: blob.mediaType,
      bytes: (from, end, reading) => this.#read(blob, from, end ?? blob.bytes.length, reading),
      close: () => void this.readers--,
    };
  }

  async *#read(blob: FakeBlob, start: number, end: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const stop = aborted(signal).catch((reason: unknown) => {
      this.aborted.push(reason);
      throw reason;
    });
    stop.catch(() => {});
    if (blob.firstByte !== undefined) await Promise.race([blob.firstByte, stop]);
    const chunkBytes = blob.chunkBytes ?? 64 * 1024;
    for (let at = start; at < end; at += chunkBytes) {
      signal.throwIfAborted();
      if (at - start >= (blob.failsAfterBytes ?? Infinity)) throw new Error('no source left');
      yield blob.bytes.subarray(at, Math.min(end, at + chunkBytes));
    }
  }

  expect(_registry: string, digests: readonly Digest[]): void {
    this.expected.push(...digests);
  }

  openCount(): number {
    return this.readers;
  }

  async close(): Promise<void> {}
}

/** Everything readable, every size unknown, unless the map says otherwise. */
export class OpenAccess implements Access {
  readonly sizes = new Map<Digest, number>();

  async mayRead({ digest }: ReadRequest) {
    return { allowed: true, sizeBytes: this.sizes.get(digest), mediaType: undefined, asker: 'node' } as const;
  }

  askerFor(): Asker {
    return 'node';
  }

  refused(): void {}

  async record(): Promise<void> {}
}

export interface FakeWorld extends MirrorDependencies {
  pulls: FakePulls;
  upstream: FakeUpstream;
  relayed: { path: string; accept: string | undefined }[];
  relayAnswer: { status: number; headers: Record<string, string>; body: Buffer };
  results: RequestResult[];
  bytesToClient: number;
  logged: string[];
}

/** A mirror's dependencies: real access and references over a fake upstream, unless `access` is given. */
export function fakeWorld(access?: Access): FakeWorld {
  const upstream = new FakeUpstream();
  const logged: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line) => void logged.push(line) });
  const asked = { origin: upstream, tracker: new FakeReferences(), now: Date.now };
  const kept = { ...asked, notes: memoryNotes(), logger };
  const shared = { ...kept, lookups: anonymousLookups(asked), admissions: new Admissions({}, kept) };
  const world: FakeWorld = {
    pulls: new FakePulls(),
    upstream,
    access: access ?? new RepositoryAccess({}, shared),
    references: new ReferenceResolver(() => ({ freshMs: 0, maxStaleMs: 60_000 }), shared),
    relayed: [],
    relayAnswer: { status: 200, headers: {}, body: Buffer.from('{}') },
    origin: {
      allowed: (registry) => registry !== 'forbidden.example',
      relay: async (_, path, call) => {
        world.relayed.push({ path, accept: call.accept });
        const refusal = upstream.refuses(call.asker ?? 'node', path);
        if (refusal !== undefined) throw refusal;
        return world.relayAnswer;
      },
    },
    logger,
    logged,
    results: [],
    bytesToClient: 0,
    observer: {
      onRequest: ({ result }) => void world.results.push(result),
      onFirstByte: () => {},
      onBytesToClient: (count) => {
        world.bytesToClient += count;
      },
    },
    now: () => performance.now(),
  };
  return world;
}

function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  return promise;
}
