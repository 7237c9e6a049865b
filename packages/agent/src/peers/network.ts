/**
 * The peer network: one libp2p node, one link per connection, and the agent's wants on top of them.
 *
 *   dial() ──► dialer ──► connection ──► PeerLink ──HELLO──► member ──► wants are sent, maps come back
 *                                                              │
 *   fetchPiece() ─────────────────────────────────────────────►└──► piece pool ──► bytes, verified
 *
 * Nothing here decides what to fetch or from whom; `pull` does, and it also decides what a failure means for a peer.
 * Without membership the network neither dials nor answers.
 */
import type { KeyObject } from 'node:crypto';
import type { Connection, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { BlobId } from '@shoal/oci';
import { type PieceMap, pieceCountOf, type Random } from '@shoal/swarm';
import { CONTROL_PROTOCOL, DIAL_BACK_PROTOCOL, type PeerRecord, PIECE_PROTOCOL } from '@shoal/wire';
import type { Logger } from 'pino';
import type { Membership } from '../tracker-client/tracker-client.ts';
import { dialableAddresses } from './addresses.ts';
import { type Piece, signAttestation, signerOf } from './attesting.ts';
import { CertificateChecker } from './certificate.ts';
import { DialBack } from './dial-back.ts';
import { Dialer } from './dialer.ts';
import { privateKeyOfSeed } from './ed25519-key.ts';
import { FreshPieceWindow } from './fresh-pieces.ts';
import { createNode, type Node } from './libp2p-node.ts';
import { MemberLinks } from './member-links.ts';
import { type LinkOwner, PeerLink } from './peer-link.ts';
import {
  type DialBackFinding,
  type FetchedPiece,
  type Holdings,
  PeerError,
  type PeerLinks,
  type PieceFetchOptions,
  type WantListener,
} from './peer-network.ts';
import { linkLanes, type PeerRates, type TunablePeerNetwork, uploadRates } from './peer-rates.ts';
import { PieceServer } from './piece-server.ts';
import { Strangers } from './strangers.ts';
import { agentContext, type StrangeAgent } from './tls/tls-transport.ts';
import { PROTOCOL_VERSIONS } from './tls/versions.ts';

export const DEFAULT_MAX_CONNECTIONS = 64;
export const DEFAULT_PIECE_STREAMS_PER_PEER = 4;
/** Piece streams that one peer may open here, whatever it is configured for. */
const MAX_INBOUND_PIECE_STREAMS = 16;
export const DEFAULT_RENEWAL_INTERVAL_MS = 30_000;
const MAX_ADDRESSES_PER_PEER = 8;
/** Pieces that come within this time of each other are told together. */
const TELL_TOGETHER_MS = 20;
/** A link that ends sooner, without a piece, counts as a failed dial: most likely the peer had no room. */
const SHORT_LINK_MS = 5_000;
const MAX_BARRED = 4096;

export interface PeerNetworkOptions extends Omit<PeerRates, 'downloadLane'> {
  /** Multiaddrs, e.g. /ip4/0.0.0.0/tcp/7301. */
  listen: readonly string[];
  /** What others should dial instead of the listening addresses. */
  announce?: readonly string[];
  /** 32-byte Ed25519 seed. */
  privateKeySeed: Uint8Array;
  zone: string;
  /** @default 64 */
  maxConnections?: number;
  /** Pieces asked of one peer at once. @default 4 */
  pieceStreamsPerPeer?: number;
  /** What is spoken with other agents, newest first. @default PROTOCOL_VERSIONS */
  versions?: readonly string[];
  /** How often certificates are looked at: renewed ones are shown, links of members without a current one end. @default 30 s */
  renewalIntervalMs?: number;
}

export interface PeerNetworkDependencies extends Pick<PeerRates, 'downloadLane'> {
  holdings: Holdings;
  membership: () => Membership | undefined;
  logger: Logger;
  /** Milliseconds since the epoch; certificates are judged by it. */
  clock: () => number;
  /** For jitter only. @default Math.random */
  random?: Random;
  /** Monotonic milliseconds. @default performance.now */
  now?: () => number;
  hooks?: PeerNetworkHooks;
}

export interface PeerNetworkHooks {
  onBytesSent?: (bytes: number) => void;
  onBytesReceived?: (bytes: number) => void;
  /** Members connected now. */
  onPeers?: (count: number) => void;
  /** An agent was met that speaks nothing that this one does. */
  onStranger?: () => void;
  /** A member was met: worth remembering for the next start. */
  onKnownPeer?: (peer: PeerRecord) => void;
}

/** Starts listening. @throws Error when none of the addresses can be listened on */
export async function startPeerNetwork(
  options: PeerNetworkOptions,
  dependencies: PeerNetworkDependencies,
): Promise<TunablePeerNetwork> {
  let network: Libp2pPeerNetwork | undefined;
  const node = await createNode({
    privateKeySeed: options.privateKeySeed,
    listen: options.listen,
    announce: options.announce ?? [],
    maxConnections: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS,
    hasRoom: () => network?.hasRoom ?? false,
    versions: options.versions,
    onStranger: (stranger) => network?.onStranger(stranger),
  });
  network = new Libp2pPeerNetwork(node, options, dependencies);
  try {
    await network.start();
  } catch (error) {
    await network.stop();
    throw error;
  }
  return network;
}

class Libp2pPeerNetwork implements TunablePeerNetwork, LinkOwner {
  readonly peerId: string;
  readonly #node: Node;
  readonly #options: PeerNetworkOptions;
  readonly #dependencies: PeerNetworkDependencies;
  readonly #hooks: PeerNetworkHooks;
  readonly #logger: Logger;
  readonly #key: KeyObject;
  readonly #checker = new CertificateChecker();
  readonly #dialer: Dialer;
  readonly #server: PieceServer;
  readonly #dialBack: DialBack;
  readonly #strangers: Strangers;
  readonly #now: () => number;
  #rates: PeerRates;
  readonly #fresh: FreshPieceWindow;
  #barred: ReadonlySet<string> = new Set();
  /** Every connection that is not closed, by connection id. */
  readonly #links = new Map<string, PeerLink>();
  readonly #members: MemberLinks;
  readonly #wants = new Map<BlobId, Set<WantListener>>();
  #inboundSoFar = 0;
  #renewal: NodeJS.Timeout | undefined;
  #draining = false;
  #stopping = false;

  constructor(node: Node, options: PeerNetworkOptions, dependencies: PeerNetworkDependencies) {
    this.peerId = node.peerId.toString();
    this.#node = node;
    this.#options = options;
    this.#dependencies = dependencies;
    this.#hooks = dependencies.hooks ?? {};
    this.#logger = dependencies.logger;
    this.#key = privateKeyOfSeed(options.privateKeySeed);
    this.#members = new MemberLinks(
      { peerId: this.peerId, maxConnections: options.maxConnections ?? DEFAULT_MAX_CONNECTIONS },
      { clock: dependencies.clock, onReplaced: (link) => this.#forget(link) },
    );
    this.#dialer = new Dialer({
      connect: (peer, signal) => this.#connect(peer, signal),
      wanted: (peerId) => this.#isWorthDialling(peerId),
      clock: dependencies.clock,
      random: dependencies.random ?? Math.random,
      logger: this.#logger,
    });
    this.#now = dependencies.now ?? (() => performance.now());
    this.#rates = { ...options, downloadLane: dependencies.downloadLane };
    this.#server = new PieceServer(uploadRates(options), {
      holdings: dependencies.holdings,
      logger: this.#logger,
      now: this.#now,
      onBytesSent: (bytes) => this.#hooks.onBytesSent?.(bytes),
    });
    this.#dialBack = new DialBack({ context: agentContext(options.privateKeySeed), now: this.#now });
    this.#strangers = new Strangers({
      versions: options.versions ?? PROTOCOL_VERSIONS,
      logger: this.#logger,
      onMet: () => this.#hooks.onStranger?.(),
    });
    this.#fresh = new FreshPieceWindow(
      { windowMs: TELL_TOGETHER_MS },
      {
        tell: (fresh) => {
          for (const link of this.#links.values()) link.publish(fresh);
        },
      },
    );
  }

  async start(): Promise<void> {
    const node = this.#node;
    node.addEventListener('connection:open', ({ detail }) => this.#onConnection(detail));
    node.addEventListener('peer:identify', ({ detail }) => {
      const link = this.#links.get(detail.connection.id);
      if (link === undefined) return;
      link.listenAddresses = dialableAddresses(detail.listenAddrs.map(String));
      link.signedAddresses = dialableAddresses((detail.signedPeerRecord?.addresses ?? []).map(String));
      this.#reportKnown(link);
    });
    // libp2p remembers every peer for hours; whoever keeps making up PeerIds would fill its memory.
    node.addEventListener('peer:disconnect', ({ detail }) => {
      node.peerStore.delete(detail).catch((error: unknown) => this.#logger.debug({ err: error }, 'peer not forgotten'));
    });
    const oneStream = { maxInboundStreams: 1, maxOutboundStreams: 1 };
    await node.handle(CONTROL_PROTOCOL, (stream, connection) => this.#onControlStream(stream, connection), oneStream);
    await node.handle(PIECE_PROTOCOL, (stream, connection) => this.#onPieceStream(stream, connection), {
      maxInboundStreams: MAX_INBOUND_PIECE_STREAMS,
      maxOutboundStreams: (this.#options.pieceStreamsPerPeer ?? DEFAULT_PIECE_STREAMS_PER_PEER) * 2,
    });
    await node.handle(DIAL_BACK_PROTOCOL, (stream, connection) => this.#onDialBack(stream, connection), oneStream);
    await node.start();
    this.#renewal = setInterval(() => {
      for (const link of this.#links.values()) link.renew();
    }, this.#options.renewalIntervalMs ?? DEFAULT_RENEWAL_INTERVAL_MS);
    this.#renewal.unref();
  }

  addresses(): string[] {
    return dialableAddresses(this.#node.getMultiaddrs().map(String));
  }

  dial(peers: readonly PeerRecord[]): void {
    if (this.#dependencies.membership() !== undefined) this.#dialer.dial(peers);
  }

  links(): PeerLinks {
    const links = this.#members.all();
    const outbound = links.filter((link) => link.dialedByUs).length;
    return { outbound, inbound: links.length - outbound, inboundSoFar: this.#inboundSoFar };
  }

  connected(): { peerId: string; zone: string }[] {
    return this.#members.all().map(({ peerId, zone }) => ({ peerId, zone }));
  }

  strangers(): StrangeAgent[] {
    return this.#strangers.all();
  }

  async dialBack(signal: AbortSignal): Promise<DialBackFinding[]> {
    // Whoever has no room for another connection answers nobody.
    return this.hasRoom ? await this.#dialBack.askSome(this.#members.all(), signal) : [];
  }

  want(blob: BlobId, listener: WantListener): { close(): void } {
    const listeners = this.#wants.get(blob) ?? new Set();
    this.#wants.set(blob, listeners);
    listeners.add(listener);
    const wanting = this.#members.all().filter((link) => link.wantedByPeer(blob));
    for (const link of this.#members.all()) link.want(blob);
    // Not before the caller has what this returns.
    queueMicrotask(() => {
      for (const link of wanting) {
        if (!listeners.has(listener) || !this.#members.isUsed(link) || !link.wantedByPeer(blob)) continue;
        listener.wants(link.peerId, link.zone);
      }
    });
    return {
      close: () => {
        if (!listeners.delete(listener) || listeners.size > 0) return;
        this.#wants.delete(blob);
        for (const link of this.#links.values()) link.unwant(blob);
      },
    };
  }

  publish(blob: BlobId, sizeBytes: number, index: number): void {
    this.#fresh.add(blob, sizeBytes, index);
  }

  withdraw(blob: BlobId): void {
    this.#fresh.drop(blob);
    for (const link of this.#links.values()) link.withdraw(blob);
  }

  fetchPiece(peerId: string, piece: Piece, options: PieceFetchOptions): Promise<FetchedPiece> {
    const link = this.#members.of(peerId);
    if (link === undefined) return Promise.reject(new PeerError('gone', 'peer is not connected'));
    if (!Number.isInteger(piece.index) || piece.index < 0 || piece.index >= pieceCountOf(piece.sizeBytes)) {
      return Promise.reject(new RangeError(`piece ${piece.index} of a blob of ${piece.sizeBytes} bytes`));
    }
    return link.fetchPiece(piece, options);
  }

  /** Without membership there is nobody to sign as: the attestation is empty, and such a piece is not served to peers. */
  attest(piece: Piece, sha256: Uint8Array): Uint8Array {
    const certificate = this.#dependencies.membership()?.certificate;
    if (certificate === undefined) return new Uint8Array(0);
    return signAttestation(piece, sha256, certificate, this.#key);
  }

  signerOf(attestation: Uint8Array): string | undefined {
    const membership = this.#dependencies.membership();
    return membership === undefined ? undefined : signerOf(attestation, membership.clusterKey, this.#checker);
  }

  bar(peerIds: Iterable<string>): void {
    const barred = new Set<string>();
    for (const peerId of peerIds) if (barred.size < MAX_BARRED && peerId !== this.peerId) barred.add(peerId);
    this.#barred = barred;
    for (const link of this.#links.values()) {
      if (barred.has(link.peerId)) link.close(new PeerError('gone', 'this member is barred'));
    }
  }

  /** Whether another peer may connect. */
  get hasRoom(): boolean {
    return !this.#draining && this.#members.hasRoom;
  }

  retune(rates: PeerRates): void {
    this.#rates = rates;
    this.#server.retune(uploadRates(rates));
    for (const link of this.#links.values()) link.retune(linkLanes(this.#rates, this.#now));
  }

  uploads(): { sending: number; waiting: number } {
    return this.#server.depth;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#draining = true;
    if (signal.aborted) return;
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const onAbort = (): void => resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    await Promise.race([this.#server.idle(), over]);
    signal.removeEventListener('abort', onAbort);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    clearInterval(this.#renewal);
    this.#fresh.stop();
    this.#members.stop();
    this.#dialer.stop();
    this.#dialBack.stop();
    for (const link of this.#links.values()) link.close(new Error('stopping'));
    await this.#node.stop();
  }

  onStranger(stranger: StrangeAgent): void {
    this.#strangers.met(stranger);
  }

  // From the links.

  onOpen(link: PeerLink): void {
    if (!link.dialedByUs) this.#inboundSoFar++;
    if (!this.#members.admit(link)) return;
    this.#strangers.forget(link.peerId);
    this.#hooks.onPeers?.(this.#members.size);
    this.#logger.debug({ peer: link.peerId, zone: link.zone }, 'peer connected');
    for (const blob of this.#wants.keys()) link.want(blob);
    this.#reportKnown(link);
  }

  onWant(link: PeerLink, blob: BlobId): void {
    if (!this.#members.isUsed(link)) return;
    for (const listener of this.#listeners(blob)) listener.wants(link.peerId, link.zone);
  }

  onUnwant(link: PeerLink, blob: BlobId): void {
    if (!this.#members.isUsed(link) || link.told.has(blob)) return;
    for (const listener of this.#listeners(blob)) listener.gone(link.peerId);
  }

  onMap(link: PeerLink, blob: BlobId, sizeBytes: number, pieces: PieceMap): void {
    if (!this.#members.isUsed(link)) return;
    for (const listener of this.#listeners(blob)) listener.map(link.peerId, link.zone, sizeBytes, pieces.clone());
  }

  onHaves(link: PeerLink, blob: BlobId, indexes: readonly number[]): void {
    if (!this.#members.isUsed(link)) return;
    for (const listener of this.#listeners(blob)) listener.haves(link.peerId, indexes);
  }

  onWithdraw(link: PeerLink, blob: BlobId): void {
    if (!this.#members.isUsed(link)) return;
    for (const listener of this.#listeners(blob)) {
      listener.gone(link.peerId);
      if (link.wantedByPeer(blob)) listener.wants(link.peerId, link.zone);
    }
  }

  onClosed(link: PeerLink): void {
    for (const [id, known] of this.#links) if (known === link) this.#links.delete(id);
    if (this.#members.remove(link)) {
      this.#hooks.onPeers?.(this.#members.size);
      this.#forget(link);
    }
    if (!link.dialedByUs || this.#members.of(link.peerId) !== undefined || this.#stopping) return;
    const ageMs = this.#dependencies.clock() - link.startedAtMs;
    if (link.hasTraded || ageMs >= SHORT_LINK_MS) this.#dialer.succeeded(link.peerId);
    else this.#dialer.failed(link.peerId);
  }

  // From libp2p.

  #onConnection(connection: Connection): void {
    const link = this.#linkOf(connection);
    if (link?.dialedByUs) void link.greet();
  }

  #onControlStream(stream: Stream, connection: Connection): void {
    const link = this.#linkOf(connection);
    if (link === undefined) stream.abort(new Error('no link'));
    else link.acceptControl(stream);
  }

  #onPieceStream(stream: Stream, connection: Connection): void {
    const link = this.#linkOf(connection);
    if (!link?.open) {
      stream.abort(new Error('no HELLO yet'));
      link?.close(new Error('piece stream before HELLO'));
      return;
    }
    this.#server.serve(stream, link, (error) => link.close(error));
  }

  #onDialBack(stream: Stream, connection: Connection): void {
    const link = this.#linkOf(connection);
    if (!link?.open) {
      stream.abort(new Error('no HELLO yet'));
      return;
    }
    void this.#dialBack.serve(stream, { peerId: link.peerId, host: link.host, addresses: link.signedAddresses });
  }

  /** Undefined when nothing may be said on this connection. */
  #linkOf(connection: Connection): PeerLink | undefined {
    const known = this.#links.get(connection.id);
    if (known !== undefined) return known;
    const { holdings, membership, clock, logger } = this.#dependencies;
    const barred = this.#barred.has(connection.remotePeer.toString());
    if (this.#stopping || barred || membership() === undefined || connection.status !== 'open') {
      connection.abort(new Error(barred ? 'this member is barred' : 'not a member yet'));
      return undefined;
    }
    const link = new PeerLink(
      {
        connection,
        zone: this.#options.zone,
        pieceStreams: this.#options.pieceStreamsPerPeer ?? DEFAULT_PIECE_STREAMS_PER_PEER,
        ...linkLanes(this.#rates, this.#now),
      },
      {
        owner: this,
        holdings,
        membership,
        checker: this.#checker,
        isBarred: (peerId) => this.#barred.has(peerId),
        clock,
        logger,
        onBytesReceived: (bytes) => this.#hooks.onBytesReceived?.(bytes),
      },
    );
    this.#links.set(connection.id, link);
    return link;
  }

  // The rest.

  async #connect(peer: PeerRecord, signal: AbortSignal): Promise<void> {
    const addresses = peer.addresses.slice(0, MAX_ADDRESSES_PER_PEER);
    await this.#node.dial(
      addresses.map((address) => multiaddr(`${address}/p2p/${peer.peerId}`)),
      { signal },
    );
  }

  #isWorthDialling(peerId: string): boolean {
    if (peerId === this.peerId || this.#barred.has(peerId)) return false;
    return this.#members.of(peerId) === undefined && this.hasRoom;
  }

  #listeners(blob: BlobId): WantListener[] {
    return [...(this.#wants.get(blob) ?? [])];
  }

  /** What this link told of blobs does not hold any more. */
  #forget(link: PeerLink): void {
    const shared = link.shared();
    link.told.clear();
    for (const blob of shared) for (const listener of this.#listeners(blob)) listener.gone(link.peerId);
  }

  #reportKnown(link: PeerLink): void {
    if (!this.#members.isUsed(link)) return;
    const dialed = link.dialedAddress;
    const addresses = [...new Set([...(dialed === undefined ? [] : [dialed]), ...link.listenAddresses])];
    if (addresses.length === 0) return;
    this.#hooks.onKnownPeer?.({ peerId: link.peerId, addresses, zone: link.zone });
  }
}
