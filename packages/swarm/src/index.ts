/**
 * The swarm's rules with no I/O. Events and the time go in, actions come out; randomness is passed in.
 * The agent runs `BlobSwarm`, the tracker runs `LeaseTable`, and a simulator can run both under virtual time.
 */
export { BlobSwarm, type BlobSwarmOptions, DEFAULT_SWARM_OPTIONS } from './blob-swarm.ts';
export {
  type LeaseAsk,
  type LeaseReply,
  LeaseTable,
  type LeaseTableDependencies,
  type LeaseTableOptions,
} from './lease-table.ts';
export { MAX_PIECE_BYTES, pieceCountOf, pieceExtent, pieceSizeOf } from './piece.ts';
export { PieceMap } from './piece-map.ts';
export { type Random, seededRandom } from './random.ts';
export type { FetchFailure, OriginEnd, SwarmAction, SwarmEvent } from './swarm-event.ts';
