/**
 * One connection to one other agent. It owns the control stream, the streams on which pieces are asked for, and what
 * either side told the other. Its life:
 *
 *   greeting ── both HELLOs checked ──► open ── stream or connection ends, protocol broken, certificate ran out ──► closed
 *       └───── 5 s without a valid HELLO, or a wrong one ──────────────────────────────────────────────────────────────┘
 *
 * The dialer says HELLO first. The dialed side answers only when that one was good, so a stranger hears nothing at all.
 * While greeting, any other frame and any piece stream ends the connection.
 */
import type { Connection, Stream } from '@libp2p/interface';
import type { Digest } from '@shoal/oci';
import { PieceMap, pieceCountOf } from '@shoal/swarm';
import {
  CONTROL_PROTOCOL,
  type ControlFrame,
  decodeControlBody,
  encodeControlFrame,
  FrameAssembler,
  MAX_CLOCK_SKEW_MS,
  MAX_CONTROL_BODY_BYTES,
  PIECE_PROTOCOL,
} from '@shoal/wire';
import type { Logger } from 'pino';
import type { Uint8ArrayList } from 'uint8arraylist';
import type { Membership } from '../tracker-client/tracker-client.ts';
import { checkAttestation, type Piece } from './attesting.ts';
import { type CertificateChecker, isCurrent, type MemberCertificate } from './certificate.ts';
import { type FetchedPiece, type Holdings, PeerError } from './peer-network.ts';
import { PiecePool } from './piece-pool.ts';
import { MAX_WANTS_PER_CONNECTION, Subscriptions } from './subscriptions.ts';

const HELLO_DEADLINE_MS = 5_000;
/** A peer that leaves this much unread on its control stream is disconnected. */
const MAX_CONTROL_QUEUE_BYTES = 1024 * 1024;

/** Who is told what happens on a link. */
export interface LinkOwner {
  onOpen(link: PeerLink): void;
  onMap(link: PeerLink, digest: Digest, sizeBytes: number, pieces: PieceMap): void;
  onHave(link: PeerLink, digest: Digest, index: number): void;
  onWithdraw(link: PeerLink, digest: Digest): void;
  onClosed(link: PeerLink): void;
}

export interface PeerLinkDependencies {
  owner: LinkOwner;
  holdings: Holdings;
  membership: () => Membership | undefined;
  checker: CertificateChecker;
  clock: () => number;
  logger: Logger;
  onBytesReceived: (bytes: number) => void;
}

export class PeerLink {
  readonly peerId: string;
  readonly dialedByUs: boolean;
  readonly startedAtMs: number;
  /** Blobs of which the peer told what it holds, with their number of pieces. */
  readonly told: Map<Digest, number> = new Map();
  /** Where the peer listens, as far as it said. */
  listenAddresses: string[] = [];
  #zone: string;
  #state: 'greeting' | 'open' | 'closed' = 'greeting';
  readonly #connection: Connection;
  readonly #ownZone: string;
  readonly #dependencies: PeerLinkDependencies;
  readonly #logger: Logger;
  readonly #subscriptions: Subscriptions;
  readonly #pool: PiecePool;
  readonly #wanted = new Set<Digest>();
  readonly #helloTimer: NodeJS.Timeout;
  #control: Stream | undefined;
  #peerCertificate: MemberCertificate | undefined;
  #shownCertificate: string | undefined;

  constructor(
    options: { connection: Connection; zone: string; pieceStreams: number },
    dependencies: PeerLinkDependencies,
  ) {
    const { connection } = options;
    this.peerId = connection.remotePeer.toString();
    this.dialedByUs = connection.direction === 'outbound';
    this.startedAtMs = dependencies.clock();
    this.#zone = '';
    this.#connection = connection;
    this.#ownZone = options.zone;
    this.#dependencies = dependencies;
    this.#logger = dependencies.logger.child({ peer: this.peerId });
    this.#subscriptions = new Subscriptions({
      holdings: dependencies.holdings,
      send: (frame) => this.#send(frame),
      logger: this.#logger,
    });
    this.#pool = new PiecePool(
      { maxStreams: options.pieceStreams },
      {
        openStream: (signal) => connection.newStream(PIECE_PROTOCOL, { signal }),
        checkAttestation: (attestation, piece) => this.#checkAttestation(attestation, piece),
        onBytesReceived: dependencies.onBytesReceived,
        onMisuse: (error) => this.close(error),
      },
    );
    this.#helloTimer = setTimeout(() => this.close(new Error('no HELLO in time')), HELLO_DEADLINE_MS);
    connection.addEventListener('close', () => this.close(new Error('connection ended')));
    if (connection.status !== 'open') this.close(new Error('connection ended'));
  }

  get open(): boolean {
    return this.#state === 'open';
  }

  get zone(): string {
    return this.#zone;
  }

  /** The address of the other end that this one dialled; without /p2p. */
  get dialedAddress(): string | undefined {
    return this.dialedByUs ? this.#connection.remoteAddr.toString().replace(/\/p2p\/[^/]+$/, '') : undefined;
  }

  /** The dialer's part: opens the control stream and says HELLO. Failing closes the link. */
  async greet(): Promise<void> {
    try {
      const signal = AbortSignal.timeout(HELLO_DEADLINE_MS);
      this.#useControl(await this.#connection.newStream(CONTROL_PROTOCOL, { signal }));
      this.#sendHello();
    } catch (error) {
      this.close(error);
    }
  }

  /** The dialed side's part. Must be called before anything is awaited. */
  acceptControl(stream: Stream): void {
    if (this.#state !== 'greeting' || this.dialedByUs || this.#control !== undefined) {
      stream.abort(new Error('unexpected control stream'));
      return;
    }
    this.#useControl(stream);
  }

  /** Sends or repeats a want: either is answered with a MAP if the peer holds anything. */
  want(digest: Digest): void {
    if (!this.#wanted.has(digest) && this.#wanted.size >= MAX_WANTS_PER_CONNECTION) {
      this.#logger.warn({ digest }, 'too many wants for one peer');
      return;
    }
    this.#wanted.add(digest);
    this.#send({ type: 'want', digest });
  }

  unwant(digest: Digest): void {
    this.told.delete(digest);
    if (this.#wanted.delete(digest)) this.#send({ type: 'unwant', digest });
  }

  publish(digest: Digest, sizeBytes: number, index: number): void {
    if (this.open) this.#subscriptions.publish(digest, sizeBytes, index);
  }

  withdraw(digest: Digest): void {
    if (this.open) this.#subscriptions.withdraw(digest);
  }

  /** @throws PeerError */
  fetchPiece(piece: Piece, options: { deadlineMs: number; signal: AbortSignal }): Promise<FetchedPiece> {
    if (!this.open) return Promise.reject(new PeerError('gone', 'peer is not connected'));
    return this.#pool.fetch(piece, options);
  }

  /** Shows a renewed certificate of ours, and ends the link when the peer did not show one in time. */
  renew(): void {
    if (!this.open) return;
    const { membership, clock } = this.#dependencies;
    const certificate = this.#peerCertificate;
    if (certificate === undefined || !isCurrent(certificate, clock(), MAX_CLOCK_SKEW_MS)) {
      this.close(new Error('certificate ran out'));
    } else if (membership()?.certificate !== this.#shownCertificate) {
      this.#sendHello();
    }
  }

  /** Ends the connection at once. Idempotent. */
  close(reason: unknown): void {
    if (this.#state === 'closed') return;
    this.#logger.debug({ reason: reason instanceof Error ? reason.message : reason }, 'peer link closed');
    this.#state = 'closed';
    clearTimeout(this.#helloTimer);
    this.#pool.close();
    this.#subscriptions.clear();
    this.#connection.abort(reason instanceof Error ? reason : new Error('link closed'));
    this.#dependencies.owner.onClosed(this);
  }

  #useControl(stream: Stream): void {
    this.#control = stream;
    stream.maxWriteBufferLength = MAX_CONTROL_QUEUE_BYTES;
    const assembler = new FrameAssembler(MAX_CONTROL_BODY_BYTES);
    const onChunk = (chunk: Uint8Array) => {
      for (let offset = 0; offset < chunk.length && this.#state !== 'closed'; ) {
        const { next, body } = assembler.take(chunk, offset);
        offset = next;
        if (body !== undefined) this.#onFrame(decodeControlBody(body));
      }
    };
    stream.addEventListener('message', ({ data }: { data: Uint8Array | Uint8ArrayList }) => {
      try {
        for (const chunk of data instanceof Uint8Array ? [data] : data) onChunk(chunk);
      } catch (error) {
        this.close(error);
      }
    });
    stream.addEventListener('close', () => this.close(new Error('control stream ended')));
    stream.addEventListener('remoteCloseWrite', () => this.close(new Error('control stream ended')));
    if (stream.status !== 'open') this.close(new Error('control stream ended'));
  }

  #onFrame(frame: ControlFrame): void {
    if (frame.type === 'hello') this.#onHello(frame.certificate, frame.zone);
    else if (this.#state === 'open') this.#onOpenFrame(frame);
    else throw new PeerError('protocol', `${frame.type} before HELLO`);
  }

  #onHello(jwt: string, zone: string): void {
    const { membership, checker, clock, owner } = this.#dependencies;
    const own = membership();
    if (own === undefined) throw new Error('not a member yet');
    const certificate = checker.check(jwt, own.clusterKey);
    if (certificate.peerId !== this.peerId) throw new PeerError('protocol', 'certificate of another peer');
    if (!isCurrent(certificate, clock(), MAX_CLOCK_SKEW_MS)) throw new PeerError('protocol', 'certificate ran out');
    this.#peerCertificate = certificate;
    this.#zone = zone;
    if (this.#state !== 'greeting') return;
    if (!this.dialedByUs) this.#sendHello();
    clearTimeout(this.#helloTimer);
    this.#state = 'open';
    owner.onOpen(this);
  }

  #onOpenFrame(frame: Exclude<ControlFrame, { type: 'hello' }>): void {
    const { owner } = this.#dependencies;
    const { digest } = frame;
    switch (frame.type) {
      case 'want':
        if (!this.#subscriptions.want(digest)) throw new PeerError('protocol', 'too many wants');
        return;
      case 'unwant':
        this.#subscriptions.unwant(digest);
        return;
      case 'map': {
        const count = pieceCountOf(frame.sizeBytes);
        const pieces = PieceMap.fromBytes(count, frame.bitmap);
        if (pieces === undefined) throw new PeerError('protocol', 'map does not fit its blob');
        // What comes for a blob not wanted any more crossed the UNWANT; it is no offence.
        if (!this.#wanted.has(digest)) return;
        this.told.set(digest, count);
        owner.onMap(this, digest, frame.sizeBytes, pieces);
        return;
      }
      case 'have': {
        const count = this.told.get(digest);
        if (count === undefined) return;
        if (frame.index >= count) throw new PeerError('protocol', 'piece beyond its blob');
        owner.onHave(this, digest, frame.index);
        return;
      }
      case 'withdraw':
        if (this.told.delete(digest)) owner.onWithdraw(this, digest);
        return;
    }
  }

  #sendHello(): void {
    const certificate = this.#dependencies.membership()?.certificate;
    if (certificate === undefined) throw new Error('not a member yet');
    this.#shownCertificate = certificate;
    this.#transmit({ type: 'hello', certificate, zone: this.#ownZone });
  }

  #send(frame: ControlFrame): void {
    if (this.open) this.#transmit(frame);
  }

  #transmit(frame: ControlFrame): void {
    try {
      this.#control?.send(encodeControlFrame(frame));
    } catch (error) {
      this.close(error);
    }
  }

  #checkAttestation(attestation: Uint8Array, piece: Piece): Uint8Array {
    const { membership, checker, clock } = this.#dependencies;
    const own = membership();
    if (own === undefined) throw new PeerError('gone', 'not a member any more');
    return checkAttestation(attestation, piece, { membership: own, checker, nowMs: clock() });
  }
}
