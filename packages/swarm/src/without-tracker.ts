/**
 * What an agent reads from the origin when no tracker can say who reads what. The members that want the blob and know each
 * other rank themselves for every run by rendezvous hashing; the first one reads it, and each next one only when the
 * ones before it have not for a while. The runs that are an agent's own it takes in random order: members that do not know
 * each other may rank first for the same run, and rarely begin with it at the same time.
 */
import type { Neighbours } from './neighbours.ts';
import { type PieceBoard, UNCOVERED } from './piece-board.ts';
import type { Random } from './random.ts';
import type { Starving } from './readers.ts';
import { rankFor } from './rendezvous.ts';

const RUNS_PER_BLOB = 32;
/** Pieces read on behalf of a starving reader. */
const STARVED_RUN_PIECES = 8;
/** Each place in the ranking for a run waits this long for the one before it. */
const PATIENCE_PER_RANK_MS = 1_000;
/** The same for the run that a reader starves for, beyond the time that made it starve. */
const STARVED_PATIENCE_PER_RANK_MS = 500;

export interface Situation {
  board: PieceBoard;
  neighbours: Neighbours;
  pieceCount: number;
  self: string;
  blob: string;
  random: Random;
  /** The origin sends the whole body to a request for a range. */
  rangeless: boolean;
}

export interface OwnRun {
  from: number;
  to: number;
  /** Read it although neighbours offer it: they do not deliver. */
  starved: boolean;
}

/** @param quietMs for how long nothing has come in, here or at any neighbour */
export function ownRun(
  { board, neighbours, pieceCount, self, blob, random, rangeless }: Situation,
  { starving, quietMs }: { starving: Starving | undefined; quietMs: number },
): OwnRun | undefined {
  const others = neighbours.all
    .filter(({ barred, silent, pieces }) => !barred && !silent && !pieces.complete)
    .map(({ id }) => id);
  const length = rangeless ? pieceCount : Math.max(1, Math.ceil(pieceCount / RUNS_PER_BLOB));
  const rankOf = (piece: number): number => rankFor(Math.floor(piece / length), blob, self, others);

  if (starving !== undefined) {
    const {
      reader: { index },
      overdueMs,
    } = starving;
    const patient = board.is(index, UNCOVERED) && rankOf(index) * STARVED_PATIENCE_PER_RANK_MS > overdueMs;
    if (!patient && rangeless) return { from: 0, to: pieceCount, starved: true };
    if (!patient) return { from: index, to: Math.min(pieceCount, index + STARVED_RUN_PIECES), starved: true };
  }
  const first = board.first(UNCOVERED);
  if (first === undefined) return undefined;
  if (others.length === 0) return { from: rangeless ? 0 : first, to: pieceCount, starved: false };
  const runs = Math.ceil(pieceCount / length);
  const start = Math.floor(random() * runs);
  for (let step = 0; step < runs; step++) {
    const run = (start + step) % runs;
    const to = Math.min(pieceCount, (run + 1) * length);
    const from = board.first(UNCOVERED, run * length);
    if (from === undefined || from >= to) continue;
    if (rankOf(from) * PATIENCE_PER_RANK_MS <= quietMs) return { from: rangeless ? 0 : from, to, starved: false };
  }
  return undefined;
}
