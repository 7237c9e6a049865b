import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Digest } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent, seededRandom } from '@shoal/swarm';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type OriginBody, type OriginClient, OriginError } from '../origin/origin-client.ts';
import { PeerError, type PeerNetwork, type WantListener } from '../peers/peer-network.ts';
import { type BlobStore, StoreError } from '../store/blob-store.ts';
import { openStore } from '../store/open-store.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import { ByteBudget } from './byte-budget.ts';
import { PullRegistry } from './pull-registry.ts';
import type { BlobReader, PullSource } from './pulls.ts';

const logger = pino({ level: 'silent' });
const REPOSITORY = { registry: 'r.test', name: 'org/app' };
const content = randomBytes(3_000_000);
const digest = `sha256:${createHash('sha256').update(content).digest('hex')}` as Digest;
const source: PullSource = { repository: REPOSITORY, kind: 'blob', sizeHintBytes: content.length, pullId: 'test' };
const never = new AbortController().signal;

interface OriginScript {
  bytes: Buffer;
  reads: { offset: number; end: number | undefined }[];
  sent: number;
  /** Called before each chunk; may throw. */
  onChunk: (position: number) => void;
  onOpen: () => void;
}

function scriptedOrigin(script: OriginScript): OriginClient {
  const unused = (): never => {
    throw new Error('not expected');
  };
  return {
    allowed: () => true,
    resolve: unused,
    manifest: unused,
    relay: unused,
    stat: async () => ({ sizeBytes: script.bytes.length }),
    blob: async (_repository, _digest, { offset, end }): Promise<OriginBody> => {
      script.reads.push({ offset, end });
      script.onOpen();
      async function* chunks(): AsyncGenerator<Uint8Array> {
        const stop = end ?? script.bytes.length;
        for (let at = offset; at < stop; at += 50_000) {
          script.onChunk(at);
          const chunk = script.bytes.subarray(at, Math.min(stop, at + 50_000));
          script.sent += chunk.length;
          yield chunk;
        }
      }
      return { offset, sizeBytes: script.bytes.length, chunks: chunks(), close: () => {} };
    },
    close: async () => {},
  };
}

/** One peer that may hold the content, and a tracker that grants every lease (or does not answer). */
function scriptedPeers(): {
  network: PeerNetwork;
  tracker: TrackerClient;
  listeners: WantListener[];
  served: number[];
  have: Digest[];
  respond: (index: number) => Buffer;
} {
  const peers = {
    listeners: [] as WantListener[],
    served: [] as number[],
    have: [] as Digest[],
    respond: (index: number): Buffer => {
      const { offset, length } = pieceExtent(content.length, index);
      return content.subarray(offset, offset + length);
    },
  };
  const network: PeerNetwork = {
    peerId: 'me',
    addresses: () => [],
    dial: () => {},
    connected: () => [],
    want: (_digest, listener) => {
      peers.listeners.push(listener);
      return { close: () => {} };
    },
    publish: () => {},
    withdraw: () => {},
    fetchPiece: async (_peer, { index }) => {
      await new Promise((resolve) => setImmediate(resolve));
      const bytes = peers.respond(index);
      peers.served.push(index);
      return { bytes, sha256: createHash('sha256').update(bytes).digest(), attestation: new Uint8Array(1) };
    },
    attest: () => new Uint8Array(1),
    stop: async () => {},
  };
  let leases = 0;
  const tracker: TrackerClient = {
    membership: () => undefined,
    reachable: () => true,
    want: async () => new Map(),
    unwant: () => {},
    have: (digests) => void peers.have.push(...digests),
    withdraw: () => {},
    lease: async () => ({ granted: true, leaseId: `${++leases}`, fromPiece: 0, toPiece: pieceCountOf(content.length) }),
    renew: async () => true,
    release: () => {},
    lookUpReference: async () => undefined,
    reportReference: () => {},
    findReference: async () => undefined,
    close: async () => {},
  };
  return Object.assign(peers, { network, tracker });
}

async function readAll(reader: BlobReader, start = 0, end?: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  try {
    for await (const chunk of reader.bytes(start, end, never)) chunks.push(chunk);
  } finally {
    reader.close();
  }
  return Buffer.concat(chunks);
}

describe('pulls', () => {
  let dataDir: string;
  let store: BlobStore;
  let pulls: PullRegistry;
  let origin: OriginScript;
  let peers: ReturnType<typeof scriptedPeers>;

  async function start(quotaBytes = 100_000_000): Promise<void> {
    store = await openStore({ dataDir, quotaBytes, minFreeDiskBytes: 0 }, { logger, clock: Date.now });
    pulls = new PullRegistry(
      { zone: 'z' },
      {
        store,
        network: peers.network,
        tracker: peers.tracker,
        origin: scriptedOrigin(origin),
        logger,
        clock: Date.now,
        random: seededRandom(1),
        pieceMemory: new ByteBudget(4_000_000),
      },
    );
  }

  beforeEach(async () => {
    dataDir = await mkdtemp(join(tmpdir(), 'shoal-pull-'));
    origin = { bytes: content, reads: [], sent: 0, onChunk: () => {}, onOpen: () => {} };
    peers = scriptedPeers();
  });

  afterEach(async () => {
    await pulls.close();
    await store.close();
    await rm(dataDir, { recursive: true, force: true });
  });

  it('serves simultaneous readers, whole and ranged, from one read of the origin', async () => {
    await start();
    const reads = [0, 0, 1_234_567].map(async (offset) =>
      readAll(await pulls.open(digest, source, offset, never), offset),
    );
    const [first, second, tail] = await Promise.all(reads);
    expect(first?.equals(content)).toBe(true);
    expect(second?.equals(content)).toBe(true);
    expect(tail?.equals(content.subarray(1_234_567))).toBe(true);
    expect(origin.sent).toBe(content.length);
    expect(origin.reads).toHaveLength(1);
    await expect.poll(() => peers.have).toEqual([digest]);
  });

  it('reads the store alone once the blob is committed', async () => {
    await start();
    await readAll(await pulls.open(digest, source, 0, never));
    const again = await readAll(await pulls.open(digest, source, 10, never), 10, 2_000);
    expect(again.equals(content.subarray(10, 2_000))).toBe(true);
    expect(origin.reads).toHaveLength(1);
  });

  it('notices a committed blob that changed on the disk, sends none of it, and pulls it again', async () => {
    await start();
    await readAll(await pulls.open(digest, source, 0, never));
    const file = join(dataDir, 'blobs', 'sha256', digest.slice('sha256:'.length));
    await expect.poll(() => peers.have).toEqual([digest]);
    const damaged = Buffer.from(content);
    damaged[300_000] = (damaged[300_000] ?? 0) ^ 1;
    await writeFile(file, damaged);
    const reader = await pulls.open(digest, source, 262_144, never);
    await expect(readAll(reader, 262_144)).rejects.toMatchObject({ code: 'digest-mismatch' });
    const again = await readAll(await pulls.open(digest, source, 0, never));
    expect(again.equals(content)).toBe(true);
    expect(origin.reads).toHaveLength(2);
  });

  it('takes up a broken body at the piece where it broke', async () => {
    let failures = 0;
    origin.onChunk = (position) => {
      if (position >= 1_000_000 && failures++ < 1) throw new OriginError('unreachable', 'reset');
    };
    await start();
    const bytes = await readAll(await pulls.open(digest, source, 0, never));
    expect(bytes.equals(content)).toBe(true);
    expect(origin.reads).toHaveLength(2);
    expect(origin.reads[1]?.offset).toBe(786_432);
  });

  it('never completes a body whose bytes do not match, keeps nothing, and asks the origin alone afterwards', async () => {
    origin.bytes = Buffer.from(content);
    origin.bytes[5] = (origin.bytes[5] ?? 0) ^ 1;
    await start();
    const reader = await pulls.open(digest, source, 0, never);
    let received = 0;
    await expect(async () => {
      for await (const chunk of reader.bytes(0, undefined, never)) received += chunk.length;
    }).rejects.toMatchObject({ code: 'mismatch' });
    reader.close();
    expect(received).toBeLessThan(content.length);
    expect(await store.find(digest)).toBeUndefined();

    origin.bytes = content;
    const listening = peers.listeners.length;
    const bytes = await readAll(await pulls.open(digest, source, 0, never));
    expect(bytes.equals(content)).toBe(true);
    expect(peers.listeners).toHaveLength(listening);
  });

  it('takes every piece from a member that holds the blob, when the origin refuses', async () => {
    origin.onOpen = () => {
      throw new OriginError('not-found', '404');
    };
    await start();
    const opening = pulls.open(digest, source, 0, never);
    await expect.poll(() => peers.listeners.length).toBe(1);
    peers.listeners[0]?.map('p', 'z', content.length, PieceMap.full(pieceCountOf(content.length)));
    const bytes = await readAll(await opening);
    expect(bytes.equals(content)).toBe(true);
    expect(new Set(peers.served).size).toBe(pieceCountOf(content.length));
  });

  it('goes on from the origin when a member sends pieces that do not verify', async () => {
    await start();
    peers.respond = () => {
      throw new PeerError('corrupt', 'wrong bytes');
    };
    const opening = pulls.open(digest, source, 0, never);
    await expect.poll(() => peers.listeners.length).toBe(1);
    peers.listeners[0]?.map('p', 'z', content.length, PieceMap.full(pieceCountOf(content.length)));
    const bytes = await readAll(await opening);
    expect(bytes.equals(content)).toBe(true);
  });

  it('rejects soon with what the origin said when nobody has the blob', async () => {
    origin.onOpen = () => {
      throw new OriginError('not-found', '404');
    };
    await start();
    const startedAt = Date.now();
    await expect(pulls.open(digest, source, 0, never)).rejects.toMatchObject({ code: 'not-found' });
    expect(Date.now() - startedAt).toBeLessThan(8_000);
  });

  it('passes a blob larger than the cache through, and keeps nothing', async () => {
    await start(1_000_000);
    const bytes = await readAll(await pulls.open(digest, source, 0, never));
    expect(bytes.equals(content)).toBe(true);
    const part = await readAll(await pulls.open(digest, source, 100, never), 100, 300);
    expect(part.equals(content.subarray(100, 300))).toBe(true);
    expect(await store.find(digest)).toBeUndefined();
  });

  it('cuts a passed-through body short when its bytes do not match', async () => {
    origin.bytes = Buffer.from(content);
    origin.bytes[5] = (origin.bytes[5] ?? 0) ^ 1;
    await start(1_000_000);
    const reader = await pulls.open(digest, source, 0, never);
    let received = 0;
    await expect(async () => {
      for await (const chunk of reader.bytes(0, undefined, never)) received += chunk.length;
    }).rejects.toMatchObject({ code: 'mismatch' });
    reader.close();
    expect(received).toBeLessThan(content.length);
  });

  describe('when the disk fills up in the middle of a body', () => {
    async function readWithFullDisk(): Promise<Buffer> {
      await start();
      const partial = store.partial.bind(store);
      store.partial = async (wanted, sizeBytes) => {
        const opened = await partial(wanted, sizeBytes);
        const write = opened.write.bind(opened);
        opened.write = async (index, ...rest) => {
          if (index >= 5) throw new StoreError('disk-full', 'no space left');
          await write(index, ...rest);
        };
        return opened;
      };
      return readAll(await pulls.open(digest, source, 0, never));
    }

    it('the rest passes by the store', async () => {
      expect((await readWithFullDisk()).equals(content)).toBe(true);
      expect(await store.find(digest)).toBeUndefined();
    });

    it('a wrong byte in the rest still cuts the body short', async () => {
      origin.bytes = Buffer.from(content);
      origin.bytes[2_900_000] = (origin.bytes[2_900_000] ?? 0) ^ 1;
      await expect(readWithFullDisk()).rejects.toMatchObject({ code: 'mismatch' });
    });
  });

  it('resumes a half-pulled blob after a restart', async () => {
    origin.onChunk = (position) => {
      if (position >= 1_600_000) throw new OriginError('refused', 'no more');
    };
    await start();
    const reader = await pulls.open(digest, source, 0, never);
    await expect(readAll(reader)).rejects.toThrow();
    await pulls.close();
    await store.close();

    origin.onChunk = () => {};
    origin.sent = 0;
    await start();
    const bytes = await readAll(await pulls.open(digest, source, 0, never));
    expect(bytes.equals(content)).toBe(true);
    expect(origin.sent).toBeLessThanOrEqual(content.length - 6 * 262_144);
  });

  it('lets a client that aborts go, and the pull on', async () => {
    await start();
    const abort = new AbortController();
    const reader = await pulls.open(digest, source, 0, abort.signal);
    const reading = (async () => {
      for await (const _ of reader.bytes(0, undefined, abort.signal)) abort.abort();
    })();
    await expect(reading).rejects.toThrow();
    reader.close();
    const bytes = await readAll(await pulls.open(digest, source, 0, never));
    expect(bytes.equals(content)).toBe(true);
    expect(origin.reads).toHaveLength(1);
  });
});
