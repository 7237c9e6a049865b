/** What one blob's swarm is told at its start. */
export interface BlobSwarmOptions {
  pieceCount: number;
  zone: string;
  /** This agent's PeerId, and the blob: without a tracker they decide who reads what. */
  self: string;
  blob: string;
  /** Pieces asked of peers at the same time, over all peers: the memory budget divided by the piece size. */
  maxInFlight: number;
  /** Of these, at most this many of one peer. */
  slotsPerPeer: number;
  /** How long a reader waits for one piece before it is asked for elsewhere. */
  stallMs: number;
  /** Nothing new for this long ends the pull. */
  giveUpMs: number;
  /** How long peers that are connected may speak up before an agent without a tracker goes to the origin; 0 with no peer. */
  graceMs: number;
  /** How long connected peers may say that they want or hold the blob before the tracker is asked; 0 with no peer. */
  listenMs: number;
  /** Members connected at the beginning, whatever they hold. */
  connected: number;
  /** Members in all, as far as known. */
  clusterSize: number;
}

export const DEFAULT_SWARM_OPTIONS: Omit<BlobSwarmOptions, 'pieceCount' | 'zone' | 'maxInFlight' | 'self' | 'blob'> = {
  slotsPerPeer: 4,
  stallMs: 2_000,
  giveUpMs: 20_000,
  graceMs: 250,
  listenMs: 10,
  connected: 0,
  clusterSize: 1,
};
