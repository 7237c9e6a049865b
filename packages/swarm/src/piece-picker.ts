/** Which missing piece to ask for next: what a reader needs first, then the rarest; chance breaks ties. */
import type { PeerTable } from './peer-table.ts';
import type { PieceMap } from './piece-map.ts';
import type { Random } from './random.ts';

/** How many pieces ahead of each reader go before the rarest ones. */
const READ_AHEAD_PIECES = 2;

export interface Pick {
  index: number;
  peer: string;
}

/**
 * @param wanted first piece each reader still waits for
 * @param skip pieces that are under way already
 */
export function pickPiece(
  have: PieceMap,
  peers: PeerTable,
  wanted: Iterable<number>,
  skip: (index: number) => boolean,
  nowMs: number,
  random: Random,
): Pick | undefined {
  for (const first of wanted) {
    for (let index = first; index < Math.min(have.count, first + READ_AHEAD_PIECES); index++) {
      if (have.has(index) || skip(index) || peers.copies(index) === 0) continue;
      const peer = peers.choose(index, nowMs, random);
      if (peer !== undefined) return { index, peer };
    }
  }
  return rarest(have, peers, skip, nowMs, random);
}

function rarest(
  have: PieceMap,
  peers: PeerTable,
  skip: (index: number) => boolean,
  nowMs: number,
  random: Random,
): Pick | undefined {
  let best: Pick | undefined;
  let bestCopies = Number.POSITIVE_INFINITY;
  const start = Math.floor(random() * have.count);
  for (let step = 0; step < have.count; step++) {
    const index = (start + step) % have.count;
    const copies = peers.copies(index);
    if (copies === 0 || copies >= bestCopies || have.has(index) || skip(index)) continue;
    const peer = peers.choose(index, nowMs, random);
    if (peer === undefined) continue;
    best = { index, peer };
    bestCopies = copies;
    if (copies === 1) break;
  }
  return best;
}
