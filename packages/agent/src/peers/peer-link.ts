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
import type { BlobId } from '@shoal/oci';
import { PieceMap, pieceCountOf, pieceExtent } from '@shoal/swarm';
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
import { type RateLane, takeAll } from '../rate/rate-limit.ts';
import { TokenBucket } from '../rate/token-bucket.ts';
import type { Membership } from '../tracker-client/tracker-client.ts';
import { type Attested, checkAttestation, type Piece } from './attesting.ts';
import { type CertificateChecker, isCurrent, type MemberCertificate } from './certificate.ts';
import type { DialBack, DialBackAnswer } from './dial-back.ts';
import type { FreshPieces } from './fresh-pieces.ts';
import { type FetchedPiece, type Holdings, PeerError, type PieceFetchOptions } from './peer-network.ts';
import { PiecePool } from './piece-pool.ts';
import type { Requester } from './piece-server.ts';
import { MAX_WANTS_PER_CONNECTION, Subscriptions } from './subscriptions.ts';

const HELLO_DEADLINE_MS = 5_000;
/** A peer that leaves this much unread on its control stream is disconnected. */
const MAX_CONTROL_QUEUE_BYTES = 1024 * 1024;
/** A peer may say this much at once, and this much per second: several times what the busiest one has to say. */
const CONTROL_FRAMES_BURST = 16_384;
const CONTROL_FRAMES_PER_SECOND = 4_000;

/** Who is told what happens on a link. */
export interface LinkOwner {
  onOpen(link: PeerLink): void;
  /** The peer wants a blob that it did not want before; or wants it no more. */
  onWant(link: PeerLink, blob: BlobId): void;
  onUnwant(link: PeerLink, blob: BlobId): void;
  onMap(link: PeerLink, blob: BlobId, sizeBytes: number, pieces: PieceMap): void;
  onHaves(link: PeerLink, blob: BlobId, indexes: readonly number[]): void;
  onWithdraw(link: PeerLink, blob: BlobId): void;
  onClosed(link: PeerLink): void;
}

export interface PeerLinkDependencies {
  owner: LinkOwner;
  holdings: Holdings;
  membership: () => Membership | undefined;
  checker: CertificateChecker;
  isBarred: (peerId: string) => boolean;
  clock: () => number;
  logger: Logger;
  onBytesReceived: (bytes: number) => void;
}

export interface PeerLinkOptions {
  connection: Connection;
  /** Of this agent. */
  zone: string;
  /** Pieces asked of the peer at once. */
  pieceStreams: number;
  /** What pieces for the peer pass through before the limit on all uploads. */
  uploadLane: RateLane | undefined;
  /** What pieces from the peer pass through, the narrowest first. */
  downloadLanes: readonly RateLane[];
}

export class PeerLink implements Requester {
  readonly peerId: string;
  readonly dialedByUs: boolean;
  readonly startedAtMs: number;
  /** Blobs of which the peer told what it holds, with their number of pieces. */
  readonly told: Map<BlobId, number> = new Map();
  uploadLane: RateLane | undefined;
  /** Where the peer listens, as far as it said. */
  listenAddresses: string[] = [];
  /** The same by a record that its own key signed. */
  signedAddresses: string[] = [];
  /** When the last piece was sent or came, or the link was made. */
  #tradedAtMs: number;
  #hasTraded = false;
  #zone: string;
  #state: 'greeting' | 'open' | 'closed' = 'greeting';
  readonly #connection: Connection;
  readonly #ownZone: string;
  #downloadLanes: readonly RateLane[];
  readonly #controlFrames: TokenBucket;
  readonly #closed = new AbortController();
  readonly #dependencies: PeerLinkDependencies;
  readonly #logger: Logger;
  readonly #subscriptions: Subscriptions;
  readonly #pool: PiecePool;
  readonly #wanted = new Set<BlobId>();
  readonly #helloTimer: NodeJS.Timeout;
  #control: Stream | undefined;
  #peerCertificate: MemberCertificate | undefined;
  #shownCertificate: string | undefined;

  constructor(options: PeerLinkOptions, dependencies: PeerLinkDependencies) {
    const { connection } = options;
    this.peerId = connection.remotePeer.toString();
    this.dialedByUs = connection.direction === 'outbound';
    this.startedAtMs = dependencies.clock();
    this.uploadLane = options.uploadLane;
    this.#tradedAtMs = this.startedAtMs;
    this.#zone = '';
    this.#downloadLanes = options.downloadLanes;
    this.#controlFrames = new TokenBucket(
      { perSecond: CONTROL_FRAMES_PER_SECOND, burst: CONTROL_FRAMES_BURST },
      this.startedAtMs,
    );
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
        isBarred: dependencies.isBarred,
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

  get tradedAtMs(): number {
    return this.#tradedAtMs;
  }

  /** Whether any piece was sent or came. */
  get hasTraded(): boolean {
    return this.#hasTraded;
  }

  /** The address of the other end that this one dialled; without /p2p. */
  get dialedAddress(): string | undefined {
    return this.dialedByUs ? this.#connection.remoteAddr.toString().replace(/\/p2p\/[^/]+$/, '') : undefined;
  }

  /** The other end's address, an IP address or a name. */
  get host(): string {
    return this.#connection.remoteAddr.getComponents()[0]?.value ?? '';
  }

  /** Has the peer dial this agent. */
  askDialBack(dialBack: DialBack, signal: AbortSignal): Promise<DialBackAnswer> {
    return dialBack.ask(this.#connection, signal);
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
  want(blob: BlobId): void {
    if (!this.#wanted.has(blob) && this.#wanted.size >= MAX_WANTS_PER_CONNECTION) {
      this.#logger.warn({ blob }, 'too many wants for one peer');
      return;
    }
    this.#wanted.add(blob);
    this.#send({ type: 'want', blob });
  }

  unwant(blob: BlobId): void {
    this.told.delete(blob);
    if (this.#wanted.delete(blob)) this.#send({ type: 'unwant', blob });
  }

  publish(fresh: FreshPieces): void {
    if (this.open) this.#subscriptions.publish(fresh);
  }

  withdraw(blob: BlobId): void {
    if (this.open) this.#subscriptions.withdraw(blob);
  }

  /** Whether the peer wants the blob. */
  wantedByPeer(blob: BlobId): boolean {
    return this.#subscriptions.has(blob);
  }

  /** All that the peer wants or holds, as far as it told. */
  shared(): Set<BlobId> {
    return new Set([...this.told.keys(), ...this.#subscriptions.blobs()]);
  }

  /**
   * Leave of the download rates is taken before the piece is asked for, so that no bytes pile up here, and what of it did
   * not come is given back. @throws PeerError
   */
  async fetchPiece(piece: Piece, options: PieceFetchOptions): Promise<FetchedPiece> {
    const { length } = pieceExtent(piece.sizeBytes, piece.index);
    const lanes = this.#downloadLanes;
    await this.#mayDownload(lanes, length, options.signal);
    let receivedBytes = 0;
    const onBytes = (bytes: number) => {
      receivedBytes += bytes;
      this.#dependencies.onBytesReceived(bytes);
    };
    try {
      const fetched = await this.#pool.fetch(piece, { ...options, onBytes });
      this.#traded();
      return fetched;
    } finally {
      if (receivedBytes < length) for (const lane of lanes) lane.spend(receivedBytes - length);
    }
  }

  /** For pieces that are asked for from here on. */
  retune({ uploadLane, downloadLanes }: Pick<PeerLinkOptions, 'uploadLane' | 'downloadLanes'>): void {
    this.uploadLane = uploadLane;
    this.#downloadLanes = downloadLanes;
  }

  wasServed(): void {
    this.#traded();
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
    this.#closed.abort();
    this.#pool.close();
    this.#connection.abort(reason instanceof Error ? reason : new Error('link closed'));
    this.#dependencies.owner.onClosed(this);
    this.#subscriptions.clear();
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

  /** @throws PeerError gone, cancelled */
  async #mayDownload(lanes: readonly RateLane[], bytes: number, signal: AbortSignal): Promise<void> {
    if (lanes.length > 0) {
      const leave = takeAll(lanes, bytes, AbortSignal.any([signal, this.#closed.signal]));
      // It fails only when one of the signals fires, which is looked at below.
      await leave?.catch(() => {});
      if (signal.aborted) throw new PeerError('cancelled', 'piece not needed any more');
    }
    if (!this.open) throw new PeerError('gone', 'peer is not connected');
  }

  #onFrame(frame: ControlFrame): void {
    if (!this.#controlFrames.take(1, this.#dependencies.clock())) throw new PeerError('protocol', 'too many frames');
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
    const { blob } = frame;
    switch (frame.type) {
      case 'want': {
        const outcome = this.#subscriptions.want(blob);
        if (outcome === 'too-many') throw new PeerError('protocol', 'too many wants');
        if (outcome === 'new') owner.onWant(this, blob);
        return;
      }
      case 'unwant':
        if (this.#subscriptions.unwant(blob)) owner.onUnwant(this, blob);
        return;
      case 'map': {
        const count = pieceCountOf(frame.sizeBytes);
        const pieces = PieceMap.fromBytes(count, frame.bitmap);
        if (pieces === undefined) throw new PeerError('protocol', 'map does not fit its blob');
        // What comes for a blob not wanted any more crossed the UNWANT; it is no offence.
        if (!this.#wanted.has(blob)) return;
        this.told.set(blob, count);
        owner.onMap(this, blob, frame.sizeBytes, pieces);
        return;
      }
      case 'have': {
        const count = this.told.get(blob);
        if (count === undefined) return;
        const { indexes } = frame;
        if (indexes.some((index) => index >= count)) throw new PeerError('protocol', 'piece beyond its blob');
        owner.onHaves(this, blob, indexes);
        return;
      }
      case 'withdraw':
        if (this.told.delete(blob)) owner.onWithdraw(this, blob);
        return;
    }
  }

  #traded(): void {
    this.#hasTraded = true;
    this.#tradedAtMs = this.#dependencies.clock();
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

  #checkAttestation(attestation: Uint8Array, piece: Piece): Attested {
    const { membership, checker, clock } = this.#dependencies;
    const own = membership();
    if (own === undefined) throw new PeerError('gone', 'not a member any more');
    return checkAttestation(attestation, piece, { membership: own, checker, nowMs: clock() });
  }
}
