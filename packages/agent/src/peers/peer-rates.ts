/** How many pieces go to peers at once, and how fast pieces come and go: as set now, and as lanes for each link. */
import { DEFAULT_UPLOAD_SLOTS } from '@shoal/swarm';
import { type RateLane, RateLimit } from '../rate/rate-limit.ts';
import type { PeerNetwork, PeerReach } from './peer-network.ts';
import type { PieceServerOptions } from './piece-server.ts';

export interface PeerRates {
  /** Pieces sent at once, to all peers together. @default 6 */
  uploadSlots?: number;
  /** Bytes of pieces sent, to all peers together; at least 64 KiB, as are the next two. @default no limit */
  uploadBytesPerSecond?: number | undefined;
  /** Bytes of pieces sent to one peer. @default no limit */
  uploadBytesPerSecondPerPeer?: number | undefined;
  /** Bytes of pieces asked of one peer. @default no limit */
  downloadBytesPerSecondPerPeer?: number | undefined;
  /** The limit on all downloads, which the origin shares. @default none */
  downloadLane?: RateLane | undefined;
}

export interface TunablePeerNetwork extends PeerNetwork, PeerReach {
  /** For the pieces that are begun from here on. */
  retune(rates: PeerRates): void;
  /** Pieces on their way to peers, and requests for pieces that wait. */
  uploads(): { sending: number; waiting: number };
}

/** @param now monotonic milliseconds */
export function linkLanes(
  rates: PeerRates,
  now: () => number,
): { uploadLane: RateLane | undefined; downloadLanes: RateLane[] } {
  const laneOf = (bytesPerSecond: number | undefined): RateLane | undefined =>
    bytesPerSecond === undefined ? undefined : new RateLimit({ bytesPerSecond }, now).lane();
  const downloadLanes = [laneOf(rates.downloadBytesPerSecondPerPeer), rates.downloadLane];
  return {
    uploadLane: laneOf(rates.uploadBytesPerSecondPerPeer),
    downloadLanes: downloadLanes.filter((lane) => lane !== undefined),
  };
}

export function uploadRates(rates: PeerRates): PieceServerOptions {
  const { uploadSlots = DEFAULT_UPLOAD_SLOTS, uploadBytesPerSecond, uploadBytesPerSecondPerPeer } = rates;
  return { uploadSlots, uploadBytesPerSecond, uploadBytesPerSecondPerPeer };
}
