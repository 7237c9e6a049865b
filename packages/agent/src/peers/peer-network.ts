/**
 * The agents this one trades with. A connection answers nothing until both sides have shown a membership certificate.
 * What a peer sends is checked here, piece by piece, before anybody else in the agent sees it: the bytes hash to what the
 * attestation says, and the attestation is signed by a member of this cluster.
 */
import type { BlobId } from '@shoal/oci';
import type { PieceMap } from '@shoal/swarm';
import type { DialledBack, PeerRecord } from '@shoal/wire';
import type { StrangeAgent } from './tls/tls-transport.ts';

/**
 * `busy`: try again after `retryAfterMs`. `not-held`: the peer no longer has it. `gone`: the connection ended.
 * `timeout`: nothing came in time. `corrupt` and `protocol`: the peer is to blame and is kept away from this swarm.
 * `barred-signer`: the piece is vouched for by a barred member, which the peer may not know yet: to be treated as
 * `not-held`, the peer is as good as before.
 */
export type PeerErrorCode =
  | 'busy'
  | 'not-held'
  | 'barred-signer'
  | 'gone'
  | 'timeout'
  | 'corrupt'
  | 'protocol'
  | 'cancelled';

export class PeerError extends Error {
  readonly code: PeerErrorCode;
  readonly retryAfterMs: number;
  constructor(code: PeerErrorCode, message: string, options: ErrorOptions & { retryAfterMs?: number } = {}) {
    // Refusals are no surprise and come by the hundred; where one was made says nothing, and costs more than the rest.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(message, options);
    Error.stackTraceLimit = stackTraceLimit;
    this.name = 'PeerError';
    this.code = code;
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }
  get peerIsToBlame(): boolean {
    return this.code === 'corrupt' || this.code === 'protocol';
  }
}

export interface PieceFetchOptions {
  /** How long the first byte may take, and each further stall; waiting for this agent's own download rate does not count. */
  deadlineMs: number;
  /** How much of the blob is here already, per mille, or 0 when a reader waits for the piece: the lowest is served first. */
  patience: number;
  signal: AbortSignal;
  /** Where the piece goes: as long as it, and not touched any more once the promise is settled. Without it new memory is taken. */
  into?: Buffer;
}

/** A verified piece: `sha256` is of `bytes` (those of `into`), and `attestation` (opaque, relayed unchanged) by `signer` vouches for it. */
export interface FetchedPiece {
  bytes: Uint8Array;
  sha256: Uint8Array;
  attestation: Uint8Array;
  /** PeerId of the member that attested the piece; seldom the one that sent it. */
  signer: string;
}

/** Who else wants or holds one wanted blob, as it changes. */
export interface WantListener {
  /** A connected member wants the blob too, from now on or since before; told once, until it is `gone`. */
  wants(peerId: string, zone: string): void;
  /** All that a peer holds now; replaces what was known of that peer. */
  map(peerId: string, zone: string, sizeBytes: number, pieces: PieceMap): void;
  /** Pieces that came since; some of them may be known already. */
  haves(peerId: string, indexes: readonly number[]): void;
  /**
   * The peer disconnected, withdrew the blob, or holds nothing and wants it no more. If it withdrew the blob and still
   * wants it, `wants` follows.
   */
  gone(peerId: string): void;
}

/** What this agent can serve; asked by the network, answered by `pull`. */
export interface Holdings {
  /** Only what is verified and on disk. */
  held(blob: BlobId): Promise<{ sizeBytes: number; pieces: PieceMap } | undefined>;
  /** undefined when the piece is not here any more. */
  read(blob: BlobId, index: number): Promise<{ bytes: Uint8Array; attestation: Uint8Array } | undefined>;
}

/** Links to members, by who dialled. */
export interface PeerLinks {
  /** Now, dialled by this agent and by the others. */
  outbound: number;
  inbound: number;
  /** Since the start, dialled by others. */
  inboundSoFar: number;
}

/** What a member answered that was asked to dial this agent back. */
export interface DialBackFinding {
  peerId: string;
  zone: string;
  /** `unsupported`: an earlier build. `refused`: asked too often. `failed`: no answer in time. */
  outcome: 'answered' | 'unsupported' | 'refused' | 'failed';
  /** Of this agent, as it announces them; none unless answered. */
  tried: readonly DialledBack[];
}

/** How this agent and the others reach each other; for whoever looks for what is wrong. */
export interface PeerReach {
  /** Agents met lately that speak no version of the protocol that this one does. */
  strangers(): StrangeAgent[];
  /** Has a few connected members dial this agent back; three seconds at most. */
  dialBack(signal: AbortSignal): Promise<DialBackFinding[]>;
}

export interface PeerNetwork {
  readonly peerId: string;
  /** Multiaddrs others can dial, without /p2p. */
  addresses(): string[];
  /** Connects in the background, bounded and deduplicated; failures are only logged. */
  dial(peers: readonly PeerRecord[]): void;
  /** How connections came about; the hint whether others can dial this agent. */
  links(): PeerLinks;
  /** Members connected now, verified both ways. */
  connected(): { peerId: string; zone: string }[];
  /** Tells every member, now and later, that this blob is wanted, and reports what they hold until closed. */
  want(blob: BlobId, listener: WantListener): { close(): void };
  /** A piece is on disk now: tell those that want the blob, within 20 ms, together with others of that time. */
  publish(blob: BlobId, sizeBytes: number, index: number): void;
  /** The blob is gone from disk: tell those that want it. */
  withdraw(blob: BlobId): void;
  /**
   * Fetches one piece and verifies it.
   * @throws PeerError
   */
  fetchPiece(
    peerId: string,
    piece: { blob: BlobId; sizeBytes: number; index: number },
    options: PieceFetchOptions,
  ): Promise<FetchedPiece>;
  /** Signs what this agent itself read from the origin or verified whole. */
  attest(piece: { blob: BlobId; sizeBytes: number; index: number }, sha256: Uint8Array): Uint8Array;
  /** PeerId of the member that signed an attestation accepted before (also this agent); undefined for anything else. */
  signerOf(attestation: Uint8Array): string | undefined;
  /**
   * These members, and no others, are barred from now on: connections to them end, none is made or accepted, and pieces
   * that they attested are refused. Beyond 4,096 the rest is ignored.
   */
  bar(peerIds: Iterable<string>): void;
  /**
   * Takes in no further peers. Pieces that peers have asked for are still sent; resolves when they are, or with the signal.
   */
  drain(signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}
