/** For the tests of this room: a cluster key that signs certificates, and agents on real sockets of 127.0.0.1. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { BlobId } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
import type { PeerRecord } from '@shoal/wire';
import { SignJWT } from 'jose';
import { pino } from 'pino';
import type { RateLane } from '../rate/rate-limit.ts';
import type { Membership } from '../tracker-client/tracker-client.ts';
import { rawPublicKey } from './ed25519-key.ts';
import { type Identity, identityOfSeed } from './identity.ts';
import { type PeerNetworkHooks, type PeerNetworkOptions, startPeerNetwork } from './network.ts';
import type { Holdings, WantListener } from './peer-network.ts';
import type { TunablePeerNetwork } from './peer-rates.ts';

export class TestCluster {
  readonly #key: KeyObject;
  readonly clusterKey: string;

  constructor(key: KeyObject = generateKeyPairSync('ed25519').privateKey) {
    this.#key = key;
    this.clusterKey = Buffer.from(rawPublicKey(key)).toString('base64url');
  }

  /** The same cluster in another process, from `exportKey`. */
  static fromKey(pem: string): TestCluster {
    return new TestCluster(createPrivateKey(pem));
  }

  exportKey(): string {
    return this.#key.export({ format: 'pem', type: 'pkcs8' }).toString();
  }

  certify(peerId: string, claims: { audience?: string; expiresAtMs?: number } = {}): Promise<string> {
    return new SignJWT({ zone: 'z' })
      .setProtectedHeader({ alg: 'EdDSA' })
      .setAudience(claims.audience ?? 'peers')
      .setSubject(peerId)
      .setExpirationTime(Math.floor((claims.expiresAtMs ?? Date.now() + 3_600_000) / 1000))
      .sign(this.#key);
  }

  async membership(peerId: string): Promise<Membership> {
    return {
      certificate: await this.certify(peerId),
      clusterKey: this.clusterKey,
      expiresAtMs: Date.now() + 3_600_000,
    };
  }
}

export interface TestBlob {
  id: BlobId;
  sizeBytes: number;
  bytes: Buffer;
}

export function randomBlob(sizeBytes: number): TestBlob {
  const bytes = randomBytes(sizeBytes);
  return { id: `a.test/sha256:${createHash('sha256').update(bytes).digest('hex')}` as BlobId, sizeBytes, bytes };
}

export function pieceOf(blob: TestBlob, index: number): Buffer {
  const { offset, length } = pieceExtent(blob.sizeBytes, index);
  return blob.bytes.subarray(offset, offset + length);
}

interface HeldBlob {
  sizeBytes: number;
  pieces: PieceMap;
  read: Map<number, { bytes: Uint8Array; attestation: Uint8Array }>;
}

/** Holdings in memory; tests may put anything in, right or wrong. */
export class TestHoldings implements Holdings {
  readonly blobs = new Map<BlobId, HeldBlob>();
  /** When set, every read waits for it. */
  gate: Promise<void> | undefined;
  reads = 0;
  lookups = 0;

  put(blob: TestBlob, index: number, attestation: Uint8Array, bytes: Uint8Array = pieceOf(blob, index)): void {
    const held = this.blobs.get(blob.id) ?? {
      sizeBytes: blob.sizeBytes,
      pieces: PieceMap.empty(pieceCountOf(blob.sizeBytes)),
      read: new Map(),
    };
    this.blobs.set(blob.id, held);
    held.pieces.add(index);
    held.read.set(index, { bytes, attestation });
  }

  held(blob: BlobId): Promise<{ sizeBytes: number; pieces: PieceMap } | undefined> {
    this.lookups++;
    return Promise.resolve(this.blobs.get(blob));
  }

  async read(blob: BlobId, index: number): Promise<{ bytes: Uint8Array; attestation: Uint8Array } | undefined> {
    this.reads++;
    await this.gate;
    return this.blobs.get(blob)?.read.get(index);
  }
}

export interface TestAgent {
  network: TunablePeerNetwork;
  holdings: TestHoldings;
  identity: Identity;
  record: PeerRecord;
  met: PeerRecord[];
  /** Holds all pieces of the blob, attested by this agent. */
  holdAll(blob: TestBlob): void;
}

export async function startAgent(
  cluster: TestCluster,
  options: Partial<PeerNetworkOptions> & {
    seed?: Uint8Array;
    membership?: () => Membership | undefined;
    clock?: () => number;
    hooks?: PeerNetworkHooks;
    downloadLane?: RateLane;
  } = {},
): Promise<TestAgent> {
  const identity = identityOfSeed(options.seed ?? randomBytes(32));
  const { peerId } = identity;
  const own = await cluster.membership(peerId);
  const holdings = new TestHoldings();
  const met: PeerRecord[] = [];
  const network = await startPeerNetwork(
    { listen: ['/ip4/127.0.0.1/tcp/0'], privateKeySeed: identity.seed, zone: 'zone-a', ...options },
    {
      holdings,
      membership: options.membership ?? (() => own),
      logger: pino({ level: 'silent' }),
      clock: options.clock ?? Date.now,
      hooks: { onKnownPeer: (peer) => met.push(peer), ...options.hooks },
      downloadLane: options.downloadLane,
    },
  );
  const holdAll = (blob: TestBlob) => {
    for (let index = 0; index < pieceCountOf(blob.sizeBytes); index++) {
      const sha256 = createHash('sha256').update(pieceOf(blob, index)).digest();
      const attestation = network.attest({ blob: blob.id, sizeBytes: blob.sizeBytes, index }, sha256);
      holdings.put(blob, index, attestation);
    }
  };
  const record = { peerId, addresses: network.addresses(), zone: 'zone-a' };
  return { network, holdings, identity, record, met, holdAll };
}

/** Polls until `condition` holds. */
export async function until(condition: () => boolean, timeoutMs = 5_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`not so within ${timeoutMs} ms: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Dials until it worked: a peer that was lost just now is not dialled again at once. */
export async function connect(from: TestAgent, to: TestAgent): Promise<void> {
  const sees = (one: TestAgent, other: TestAgent) =>
    one.network.connected().some(({ peerId }) => peerId === other.identity.peerId);
  await until(() => {
    from.network.dial([to.record]);
    return sees(from, to) && sees(to, from);
  });
}

/** A want listener that keeps what it was told. */
export class RecordingListener implements WantListener {
  readonly maps = new Map<string, PieceMap>();
  readonly wanting = new Set<string>();
  readonly events: string[] = [];

  wants(peerId: string, zone: string): void {
    this.events.push(`wants ${zone}`);
    this.wanting.add(peerId);
  }

  map(peerId: string, zone: string, sizeBytes: number, pieces: PieceMap): void {
    this.events.push(`map ${zone} ${sizeBytes} ${pieces.held}/${pieces.count}`);
    this.maps.set(peerId, pieces);
  }

  haves(peerId: string, indexes: readonly number[]): void {
    this.events.push(`haves ${indexes.join()}`);
    for (const index of indexes) this.maps.get(peerId)?.add(index);
  }

  gone(peerId: string): void {
    this.events.push('gone');
    this.maps.delete(peerId);
    this.wanting.delete(peerId);
  }
}
