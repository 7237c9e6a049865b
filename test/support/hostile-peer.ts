// A member of a cluster that misbehaves: it joins the real tracker with the real token, gets a valid certificate, says that
// it holds a blob, and answers requests for its pieces as it is told to.
//
//   await using peer = await HostilePeer.join({ url, joinToken }, image.layers[0].content, 'never-answers');
//   // … an agent pulls …
//   expect(peer.requests).toBeGreaterThan(0);
//
// With `{ holds: 'nothing' }` it only wants the blob, until it takes a lease as the others do:
//
//   await peer.takeRun(8);              // pieces from 8 on come from this peer alone
//   await peer.frame(3);                          // reports whoever signed piece 3 for a lie
//   expect(await peer.isBarred()).toBe(true);
import { createHash, type KeyObject, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTrackerClient, type StartableTrackerClient } from '@shoal/agent';
import { createLogger } from '@shoal/cli';
import { type BlobId, blobIdOf } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
import {
  CONTROL_PROTOCOL,
  decodeControlBody,
  decodePieceAnswer,
  decodePieceCall,
  encodeControlFrame,
  encodePieceAnswer,
  encodePieceRequest,
  FrameAssembler,
  MAX_CONTROL_BODY_BYTES,
  MAX_PIECE_ANSWER_BODY_BYTES,
  MAX_PIECE_REQUEST_BODY_BYTES,
  PIECE_PROTOCOL,
} from '@shoal/wire';
import { signAttestation } from '../../packages/agent/src/peers/attesting.ts';
import { privateKeyOfSeed } from '../../packages/agent/src/peers/ed25519-key.ts';
import { identityOfSeed } from '../../packages/agent/src/peers/identity.ts';
import { createNode, type Node } from '../../packages/agent/src/peers/libp2p-node.ts';
import type { Content } from './fault-origin.ts';
import { registryName } from './shoal-cluster.ts';

type Connection = Awaited<ReturnType<Node['dial']>>;
type Stream = Awaited<ReturnType<Connection['newStream']>>;

export type Misbehaviour =
  /** Does everything right, to show that the others are refused for what they do wrong. */
  | 'none'
  /** Takes requests. */
  | 'never-answers'
  | 'stops-mid-piece'
  /** Its connection ends in the middle of a piece. */
  | 'dies-mid-piece'
  /** Bytes that do not hash to what it signed. */
  | 'wrong-bytes'
  /** Bytes that hash to what it signed, and are not the blob's. */
  | 'signs-wrong-bytes';

interface Tracker {
  url: string;
  joinToken: string;
}

export class HostilePeer implements AsyncDisposable {
  readonly #tracker: Tracker;
  readonly #seed: Uint8Array;
  readonly #node: Node;
  readonly #client: StartableTrackerClient;
  readonly #key: KeyObject;
  readonly #content: Content;
  readonly #blob: BlobId;
  readonly #misbehaviour: Misbehaviour;
  /** What it says that it holds. */
  readonly #pieces: PieceMap;
  /** Agents that want the blob. */
  readonly #subscribers = new Set<Stream>();
  #requests = 0;
  #wants = 0;

  private constructor(
    tracker: Tracker,
    seed: Uint8Array,
    node: Node,
    content: Content,
    misbehaviour: Misbehaviour,
    holds: 'everything' | 'nothing',
  ) {
    this.#tracker = tracker;
    this.#seed = seed;
    this.#node = node;
    this.#client = clientOf(tracker, seed, () => addressesOf(node));
    this.#key = privateKeyOfSeed(seed);
    this.#content = content;
    this.#blob = blobIdOf(registryName, content.digest);
    this.#misbehaviour = misbehaviour;
    const count = pieceCountOf(content.sizeBytes);
    this.#pieces = holds === 'everything' ? PieceMap.full(count) : PieceMap.empty(count);
  }

  /** Resolves when the tracker introduces this peer to whoever wants the blob. */
  static async join(
    tracker: Tracker,
    content: Content,
    misbehaviour: Misbehaviour,
    { holds = 'everything' }: { holds?: 'everything' | 'nothing' } = {},
  ): Promise<HostilePeer> {
    const seed = randomBytes(32);
    const listen = ['/ip4/127.0.0.1/tcp/0'];
    const node = await createNode({ privateKeySeed: seed, listen, announce: [], maxConnections: 10 });
    const peer = new HostilePeer(tracker, seed, node, content, misbehaviour, holds);
    await node.handle(CONTROL_PROTOCOL, (stream) => peer.#control(stream));
    await node.handle(PIECE_PROTOCOL, (stream, connection) => peer.#serve(stream, connection));
    await node.start();
    const outcome = await peer.#client.start();
    if (outcome !== 'joined') throw new Error(`the hostile peer could not join: ${JSON.stringify(outcome)}`);
    if (holds === 'nothing') {
      await peer.#client.want([peer.#blob]);
    } else {
      peer.#client.have([peer.#blob]);
      // Announcements go out in order, so an answer to this one means that the one before was taken in.
      await sleep(ANNOUNCED_AFTER_MS);
    }
    return peer;
  }

  /** Gets the tracker's leave to read a run from the origin, and claims to have done so. Returns how many pieces it has now. */
  async takeRun(piece: number): Promise<number> {
    const blob = this.#blob;
    const { sizeBytes } = this.#content;
    const answer = await this.#client.lease({ blob, sizeBytes, starved: false, piece });
    if (!answer?.granted || answer.source !== 'origin') throw new Error(`no lease: ${JSON.stringify(answer)}`);
    const indexes: number[] = [];
    for (let index = answer.from; index < answer.to; index++) indexes.push(index);
    for (const index of indexes) this.#pieces.add(index);
    this.#client.release(answer.leaseId, { how: 'done', next: answer.to });
    for (const stream of this.#subscribers) stream.send(encodeControlFrame({ type: 'have', blob, indexes }));
    return this.#pieces.held;
  }

  /** Asks an agent that is connected for a piece, and reports whoever signed that for a lie. Resolves when it is reported. */
  async frame(index: number): Promise<void> {
    const { sizeBytes } = this.#content;
    const claim = await this.#attestationOf(index);
    const counter = this.#attest(index, randomBytes(32));
    const answer = await this.#client.report({ blob: this.#blob, sizeBytes, index, claim, counter });
    if (answer === undefined) throw new Error('the tracker took no report');
  }

  /** Whether the tracker lets it join again. */
  async isBarred(): Promise<boolean> {
    const client = clientOf(this.#tracker, this.#seed, () => []);
    const outcome = await client.start();
    await client.close();
    return typeof outcome === 'object' && outcome.fatal === 'BARRED';
  }

  get peerId(): string {
    return this.#node.peerId.toString();
  }

  /** How many pieces it was asked for. */
  get requests(): number {
    return this.#requests;
  }

  /** How many times somebody told it to want the blob. */
  get wants(): number {
    return this.#wants;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
    await this.#node.stop();
  }

  get #certificate(): string {
    return this.#client.membership()?.certificate ?? '';
  }

  #control(stream: Stream): void {
    stream.send(encodeControlFrame({ type: 'hello', certificate: this.#certificate, zone: 'default' }));
    stream.addEventListener('close', () => this.#subscribers.delete(stream));
    forEachBody(stream, MAX_CONTROL_BODY_BYTES, (body) => {
      const frame = decodeControlBody(body);
      if (frame.type !== 'want' || frame.blob !== this.#blob) return;
      this.#wants++;
      this.#subscribers.add(stream);
      const { sizeBytes } = this.#content;
      stream.send(encodeControlFrame({ type: 'map', blob: this.#blob, sizeBytes, bitmap: this.#pieces.toBytes() }));
    });
  }

  /** Whatever comes first of the agents that have the piece. */
  async #attestationOf(index: number): Promise<Uint8Array> {
    for (let tries = 0; tries < 100; tries++) {
      for (const connection of this.#node.getConnections()) {
        const attestation = await this.#askFor(index, connection).catch(() => undefined);
        if (attestation !== undefined) return attestation;
      }
      await sleep(50);
    }
    throw new Error(`nobody gave piece ${index}`);
  }

  async #askFor(index: number, connection: Connection): Promise<Uint8Array | undefined> {
    const stream = await connection.newStream(PIECE_PROTOCOL, { signal: AbortSignal.timeout(1_000) });
    const answered = new Promise<Uint8Array>((resolve) => {
      const assembler = new FrameAssembler(MAX_PIECE_ANSWER_BODY_BYTES);
      let body: Uint8Array | undefined;
      stream.addEventListener('message', ({ data }) => {
        body ??= assembler.take(data.subarray(), 0).body;
        if (body !== undefined) resolve(body);
      });
    });
    try {
      stream.send(encodePieceRequest({ blob: this.#blob, index, patience: 0 }));
      const late = sleep(1_000).then((): never => {
        throw new Error('no answer');
      });
      const answer = decodePieceAnswer(await Promise.race([answered, late]));
      return answer.type === 'piece' ? answer.attestation.slice() : undefined;
    } finally {
      stream.abort(new Error('only the signature was wanted'));
    }
  }

  #attest(index: number, sha256: Uint8Array): Uint8Array {
    const { sizeBytes } = this.#content;
    return signAttestation({ blob: this.#blob, sizeBytes, index }, sha256, this.#certificate, this.#key);
  }

  #serve(stream: Stream, connection: Connection): void {
    forEachBody(stream, MAX_PIECE_REQUEST_BODY_BYTES, (body) => {
      const call = decodePieceCall(body);
      if (call === 'received') return;
      this.#requests++;
      this.#answer(call.index, stream, connection);
    });
  }

  #answer(index: number, stream: Stream, connection: Connection): void {
    const misbehaviour = this.#misbehaviour;
    if (misbehaviour === 'never-answers') return;
    const { offset, length } = pieceExtent(this.#content.sizeBytes, index);
    const right = this.#content.read(offset, length);
    const wrong = Buffer.from(right);
    wrong[length >> 1] = (wrong[length >> 1] ?? 0) ^ 1;
    const signed = misbehaviour === 'signs-wrong-bytes' ? wrong : right;
    const sent = misbehaviour === 'wrong-bytes' ? wrong : signed;
    const attestation = this.#attest(index, createHash('sha256').update(signed).digest());
    stream.send(encodePieceAnswer({ type: 'piece', length, attestation }));
    if (misbehaviour === 'stops-mid-piece' || misbehaviour === 'dies-mid-piece') {
      stream.send(sent.subarray(0, length >> 1));
      if (misbehaviour === 'dies-mid-piece') {
        setTimeout(() => connection.abort(new Error('killed')), DIES_AFTER_MS);
      }
      return;
    }
    stream.send(sent);
  }
}

/** The client sends what is new within 50 ms. */
const ANNOUNCED_AFTER_MS = 500;
/** The half of a piece is on its way by then. */
const DIES_AFTER_MS = 20;

function clientOf({ url, joinToken }: Tracker, seed: Uint8Array, addresses: () => string[]): StartableTrackerClient {
  return createTrackerClient(
    { trackers: [url], joinToken, zone: 'default' },
    {
      identity: identityOfSeed(seed),
      addresses,
      logger: createLogger({ level: 'silent', format: 'json' }, process.stderr),
      clock: Date.now,
    },
  );
}

const addressesOf = (node: Node): string[] =>
  node.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*/, ''));

function forEachBody(stream: Stream, maxBodyBytes: number, take: (body: Uint8Array) => void): void {
  const assembler = new FrameAssembler(maxBodyBytes);
  stream.addEventListener('message', ({ data }) => {
    const chunk = data.subarray();
    for (let offset = 0; offset < chunk.length; ) {
      const { next, body } = assembler.take(chunk, offset);
      offset = next;
      if (body !== undefined) take(body);
    }
  });
}
