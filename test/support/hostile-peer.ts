// A member of a cluster that misbehaves: it joins the real tracker with the real token, gets a valid certificate, says that
// it holds a whole blob, and answers requests for its pieces as it is told to.
//
//   await using peer = await HostilePeer.join({ url, joinToken }, image.layers[0].content, 'never-answers');
//   // … an agent pulls …
//   expect(peer.requests).toBeGreaterThan(0);
import { createHash, type KeyObject, randomBytes } from 'node:crypto';
import { createTrackerClient, type StartableTrackerClient } from '@shoal/agent';
import { createLogger } from '@shoal/cli';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
import {
  CONTROL_PROTOCOL,
  decodeControlBody,
  decodePieceRequest,
  encodeControlFrame,
  encodePieceAnswer,
  FrameAssembler,
  MAX_CONTROL_BODY_BYTES,
  MAX_PIECE_REQUEST_BODY_BYTES,
  PIECE_PROTOCOL,
} from '@shoal/wire';
import { signAttestation } from '../../packages/agent/src/peers/attesting.ts';
import { privateKeyOfSeed } from '../../packages/agent/src/peers/ed25519-key.ts';
import { identityOfSeed } from '../../packages/agent/src/peers/identity.ts';
import { createNode, type Node } from '../../packages/agent/src/peers/libp2p-node.ts';
import type { Content } from './fault-origin.ts';

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

export class HostilePeer implements AsyncDisposable {
  readonly #node: Node;
  readonly #client: StartableTrackerClient;
  readonly #key: KeyObject;
  readonly #content: Content;
  readonly #misbehaviour: Misbehaviour;
  #requests = 0;
  #wants = 0;

  private constructor(
    node: Node,
    client: StartableTrackerClient,
    key: KeyObject,
    content: Content,
    misbehaviour: Misbehaviour,
  ) {
    this.#node = node;
    this.#client = client;
    this.#key = key;
    this.#content = content;
    this.#misbehaviour = misbehaviour;
  }

  /** Resolves when the tracker introduces this peer to whoever wants the blob. */
  static async join(
    tracker: { url: string; joinToken: string },
    content: Content,
    misbehaviour: Misbehaviour,
  ): Promise<HostilePeer> {
    const seed = randomBytes(32);
    const listen = ['/ip4/127.0.0.1/tcp/0'];
    const node = await createNode({ privateKeySeed: seed, listen, announce: [], maxConnections: 10 });
    const client = createTrackerClient(
      { trackers: [tracker.url], joinToken: tracker.joinToken, zone: 'default' },
      {
        identity: identityOfSeed(seed),
        addresses: () => node.getMultiaddrs().map((address) => address.toString().replace(/\/p2p\/.*/, '')),
        logger: createLogger({ level: 'silent', format: 'json' }, process.stderr),
        clock: Date.now,
      },
    );
    const peer = new HostilePeer(node, client, privateKeyOfSeed(seed), content, misbehaviour);
    await node.handle(CONTROL_PROTOCOL, (stream) => peer.#control(stream));
    await node.handle(PIECE_PROTOCOL, (stream, connection) => peer.#serve(stream, connection));
    await node.start();
    const outcome = await client.start();
    if (outcome !== 'joined') throw new Error(`the hostile peer could not join: ${JSON.stringify(outcome)}`);
    client.have([content.digest]);
    // Announcements go out in order, so an answer to this one means that the one before was taken in.
    await new Promise((resolve) => setTimeout(resolve, ANNOUNCED_AFTER_MS));
    return peer;
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
    forEachBody(stream, MAX_CONTROL_BODY_BYTES, (body) => {
      const frame = decodeControlBody(body);
      if (frame.type !== 'want' || frame.digest !== this.#content.digest) return;
      this.#wants++;
      const { digest, sizeBytes } = this.#content;
      const bitmap = PieceMap.full(pieceCountOf(sizeBytes)).toBytes();
      stream.send(encodeControlFrame({ type: 'map', digest, sizeBytes, bitmap }));
    });
  }

  #serve(stream: Stream, connection: Connection): void {
    forEachBody(stream, MAX_PIECE_REQUEST_BODY_BYTES, (body) => {
      this.#requests++;
      this.#answer(decodePieceRequest(body).index, stream, connection);
    });
  }

  #answer(index: number, stream: Stream, connection: Connection): void {
    const misbehaviour = this.#misbehaviour;
    if (misbehaviour === 'never-answers') return;
    const { digest, sizeBytes } = this.#content;
    const { offset, length } = pieceExtent(sizeBytes, index);
    const right = this.#content.read(offset, length);
    const wrong = Buffer.from(right);
    wrong[length >> 1] = (wrong[length >> 1] ?? 0) ^ 1;
    const signed = misbehaviour === 'signs-wrong-bytes' ? wrong : right;
    const sent = misbehaviour === 'wrong-bytes' ? wrong : signed;
    const sha256 = createHash('sha256').update(signed).digest();
    const attestation = signAttestation({ digest, sizeBytes, index }, sha256, this.#certificate, this.#key);
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
