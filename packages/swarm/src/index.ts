/**
 * The swarm's rules with no I/O. Events and the time go in, actions come out; randomness is passed in.
 * The agent runs `BlobSwarm` and `Audit`, the tracker `LeaseTable` and `DisputeTable`, the simulator all of them.
 */
export { Audit } from './audit.ts';
export { BlobSwarm, MAX_PATIENCE } from './blob-swarm.ts';
export { type Contradiction, DisputeTable, type SavedDispute } from './dispute-table.ts';
export type { LeaseAsk, LeaseProgress, LeaseReply } from './lease-ask.ts';
export { LeaseTable, type LeaseTableDependencies, type LeaseTableOptions } from './lease-table.ts';
export { MAX_PIECE_BYTES, pieceCountOf, pieceExtent, pieceSizeOf } from './piece.ts';
export { PieceMap } from './piece-map.ts';
export { type Random, seededRandom } from './random.ts';
export { mostInFlight } from './request-window.ts';
export type { SavedBlobLeases } from './saved-leases.ts';
export type {
  FetchFailure,
  LeaseSource,
  OriginEnd,
  ReleaseHow,
  SwarmAction,
  SwarmEvent,
} from './swarm-event.ts';
export { type BlobSwarmOptions, DEFAULT_SWARM_OPTIONS } from './swarm-options.ts';
export {
  DEFAULT_UPLOAD_SLOTS,
  type Turn,
  UploadQueue,
  type UploadQueueOptions,
  type UploadRequest,
  uploadLimits,
} from './upload-queue.ts';
