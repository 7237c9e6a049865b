/** Sources for tests of pulls: an origin, one peer and a tracker that do as they are told, and write down what they were asked. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BlobId, blobIdOf, type Digest } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent, seededRandom } from '@shoal/swarm';
import type { LeaseAnswer, LeaseRequest } from '@shoal/wire';
import pino from 'pino';
import type { Asker } from '../origin/asker.ts';
import type { OriginBody, OriginCall, OriginClient } from '../origin/origin-client.ts';
import { PeerError, type PeerNetwork, type WantListener } from '../peers/peer-network.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { openStore } from '../store/open-store.ts';
import type { Contradiction, LeaseEnd, LeaseProgress, TrackerClient } from '../tracker-client/tracker-client.ts';
import { OriginTurns } from './origin-turns.ts';
import { PieceMemory } from './piece-memory.ts';
import { PullRegistry } from './pull-registry.ts';
import type { BlobReader, PullSource } from './pulls.ts';

const logger = pino({ level: 'silent' });
const PEER = 'peer';
export const ME = 'me';
export const content: Buffer = randomBytes(3_000_000);
export const pieceCount: number = pieceCountOf(content.length);
export const PIECE_BYTES: number = pieceExtent(content.length, 0).length;
export const digest = `sha256:${createHash('sha256').update(content).digest('hex')}` as Digest;
/** The same as its registry has it. */
export const blob: BlobId = blobIdOf('r.test', digest);
export const source: PullSource = {
  repository: { registry: 'r.test', name: 'org/app' },
  kind: 'blob',
  asker: 'node',
  sizeHintBytes: content.length,
  pullId: 'test',
};
export const never: AbortSignal = new AbortController().signal;

export function pieceOf(bytes: Buffer, index: number): Buffer {
  const { offset, length } = pieceExtent(bytes.length, index);
  return bytes.subarray(offset, offset + length);
}

/** One byte of each of these pieces is another one. */
export function withWrongPieces(indexes: readonly number[]): Buffer {
  const wrong = Buffer.from(content);
  for (const index of indexes) wrong[index * PIECE_BYTES + 5] = (wrong[index * PIECE_BYTES + 5] ?? 0) ^ 1;
  return wrong;
}

const attestationBy = (member: string): Uint8Array => Buffer.from(`by ${member}`);
export const signerOf = (attestation: Uint8Array): string => Buffer.from(attestation).toString().slice('by '.length);

export class ScriptedOrigin {
  bytes: Buffer = content;
  honoursRanges = true;
  readonly reads: { offset: number; end: number | undefined }[] = [];
  sentBytes = 0;
  /** Called before each chunk; may throw. */
  onChunk: (position: number) => void | Promise<void> = () => {};
  /** Called before each body; may throw. */
  onOpen: (call: OriginCall) => void = () => {};

  get client(): OriginClient {
    const unused = (): never => {
      throw new Error('not expected');
    };
    return {
      allowed: () => true,
      resolve: unused,
      manifest: unused,
      relay: unused,
      check: unused,
      stat: async () => ({ sizeBytes: this.bytes.length }),
      blob: async (_repository, _digest, { offset, end }, call) => this.#open(offset, end, call),
      close: async () => {},
    };
  }

  #open(offset: number, end: number | undefined, call: OriginCall): OriginBody {
    this.reads.push({ offset, end });
    this.onOpen(call);
    const ranged = this.honoursRanges && (offset > 0 || end !== undefined);
    const [from, to] = ranged ? [offset, end ?? this.bytes.length] : [0, this.bytes.length];
    return { offset: from, ranged, sizeBytes: this.bytes.length, chunks: this.#chunks(from, to), close: () => {} };
  }

  async *#chunks(from: number, to: number): AsyncGenerator<Uint8Array> {
    for (let at = from; at < to; at += 50_000) {
      await this.onChunk(at);
      const chunk = this.bytes.subarray(at, Math.min(to, at + 50_000));
      this.sentBytes += chunk.length;
      yield chunk;
    }
  }
}

/** One peer; it holds what `hold` says, and passes on pieces that others signed. */
export class ScriptedNetwork {
  readonly listeners: WantListener[] = [];
  readonly served: number[] = [];
  barred: ReadonlySet<string> = new Set();
  /** What the peer sends; may throw. */
  respond: (index: number) => Buffer | Promise<Buffer> = (index) => pieceOf(content, index);
  signer: (index: number) => string = () => 'honest';

  hold(): void {
    this.listeners[0]?.map(PEER, 'z', content.length, PieceMap.full(pieceCount));
  }

  get network(): PeerNetwork {
    return {
      peerId: ME,
      addresses: () => [],
      dial: () => {},
      links: () => ({ outbound: 0, inbound: 0, inboundSoFar: 0 }),
      connected: () => [],
      want: (_blob, listener) => {
        this.listeners.push(listener);
        return { close: () => {} };
      },
      publish: () => {},
      withdraw: () => {},
      fetchPiece: async (_peer, { index }) => {
        await new Promise((resolve) => setImmediate(resolve));
        const signer = this.signer(index);
        if (this.barred.has(signer)) throw new PeerError('barred-signer', `${signer} is barred`);
        const bytes = await this.respond(index);
        this.served.push(index);
        const sha256 = createHash('sha256').update(bytes).digest();
        return { bytes, sha256, attestation: attestationBy(signer), signer };
      },
      attest: () => attestationBy(ME),
      signerOf,
      drain: async () => {},
      bar: (peerIds) => {
        this.barred = new Set(peerIds);
      },
      stop: async () => {},
    };
  }
}

export type RunAnswer =
  | { from: number; to: number; source?: 'origin' | 'zone' | 'audit'; witness?: { index: number } }
  | { retryAfterMs: number; witness?: { index: number } }
  | undefined;

/** Grants the whole blob to whoever asks, unless told otherwise. */
export class ScriptedTracker {
  readonly have: BlobId[] = [];
  readonly asked: LeaseRequest[] = [];
  readonly renewals: ({ leaseId: string } & LeaseProgress)[] = [];
  readonly releases: ({ leaseId: string } & LeaseEnd)[] = [];
  readonly reports: Contradiction[] = [];
  barred: ReadonlySet<string> = new Set();
  /** Undefined: no tracker. */
  onLease: (request: LeaseRequest) => RunAnswer = () => ({ from: 0, to: pieceCount });
  /** Where the lease ends now; undefined: it is lost. */
  onRenew: (renewal: { leaseId: string } & LeaseProgress) => number | undefined = () => pieceCount;
  #leases = 0;

  get client(): TrackerClient {
    return {
      membership: () => undefined,
      reachable: () => true,
      clusterSize: () => 1,
      want: async () => new Map(),
      unwant: () => {},
      have: (blobs) => void this.have.push(...blobs),
      withdraw: () => {},
      lease: async (request) => this.#answer(request),
      renew: async (leaseId, progress) => {
        const renewal = { leaseId, ...progress };
        this.renewals.push(renewal);
        const to = this.onRenew(renewal);
        return { held: to !== undefined, to: to ?? 0 };
      },
      release: (leaseId, end) => void this.releases.push({ leaseId, ...end }),
      report: async (contradiction) => {
        this.reports.push(contradiction);
        return { barred: [] };
      },
      barred: () => this.barred,
      lookUpReference: async () => undefined,
      reportReference: () => {},
      findReference: async () => undefined,
      close: async () => {},
    };
  }

  #answer(request: LeaseRequest): LeaseAnswer | undefined {
    this.asked.push(request);
    const answer = this.onLease(request);
    if (answer === undefined) return undefined;
    const more = { peers: [], barred: [...this.barred] };
    if ('retryAfterMs' in answer) return { granted: false, ...answer, ...more };
    return { granted: true, source: 'origin', ...answer, leaseId: `${++this.#leases}`, ...more };
  }
}

/** Pulls over a real store and the three sources, in a folder of their own. */
export class PullStage implements AsyncDisposable {
  readonly origin = new ScriptedOrigin();
  readonly peers = new ScriptedNetwork();
  readonly tracker = new ScriptedTracker();
  readonly rejected: string[] = [];
  readonly audits: string[] = [];
  readonly dataDir: string;
  #started: { store: BlobStore; pulls: PullRegistry } | undefined;

  private constructor(dataDir: string) {
    this.dataDir = dataDir;
  }

  static async make(): Promise<PullStage> {
    return new PullStage(await mkdtemp(join(tmpdir(), 'shoal-pull-')));
  }

  get store(): BlobStore {
    return this.#mustBeStarted().store;
  }

  get pulls(): PullRegistry {
    return this.#mustBeStarted().pulls;
  }

  async start(quotaBytes = 100_000_000): Promise<void> {
    const { dataDir } = this;
    const store = await openStore({ dataDir, quotaBytes, minFreeDiskBytes: 0 }, { logger, clock: Date.now });
    const pulls = new PullRegistry(
      { zone: 'z' },
      {
        store,
        network: this.peers.network,
        tracker: this.tracker.client,
        origin: this.origin.client,
        logger,
        clock: Date.now,
        random: seededRandom(1),
        pieceMemory: new PieceMemory(4_000_000),
        originTurns: new OriginTurns(() => performance.now()),
        onPieceRejected: (reason) => this.rejected.push(reason),
        onAudit: (result) => this.audits.push(result),
      },
    );
    this.#started = { store, pulls };
  }

  async stop(): Promise<void> {
    await this.#started?.pulls.close();
    await this.#started?.store.close();
    this.#started = undefined;
  }

  open(start = 0, asker: Asker = 'node'): Promise<BlobReader> {
    return this.pulls.open(digest, { ...source, asker }, start, never);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.dataDir, { recursive: true, force: true });
  }

  #mustBeStarted(): { store: BlobStore; pulls: PullRegistry } {
    if (this.#started === undefined) throw new Error('not started');
    return this.#started;
  }
}

export async function readAll(reader: BlobReader, start = 0, end?: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of reader.bytes(start, end, never)) chunks.push(Buffer.from(chunk));
  } finally {
    reader.close();
  }
  return Buffer.concat(chunks);
}
