/**
 * Which things go when room is needed: arithmetic only, so every rule can be tested without a disk.
 * Nothing is chosen unless it makes the newcomer fit: a blob that cannot be kept must not cost those that are.
 */

export interface SpaceDemand {
  /** Committed and reserved bytes now. */
  usedBytes: number;
  /** Bytes about to be reserved. */
  addBytes: number;
  quotaBytes: number;
  /** Ratios of the quota: above `highWater` eviction starts, and it goes on down to `lowWater`. */
  highWater: number;
  lowWater: number;
  /** Of the bytes used, those that are never evicted. */
  pinnedBytes: number;
  /** Bytes free on the disk, and how many must stay free. Undefined when there is no floor. */
  disk?: { freeBytes: number; floorBytes: number; unwrittenBytes: number } | undefined;
}

export interface SpaceNeed {
  /** Without this many bytes the newcomer does not fit under the quota. */
  quotaBytes: number;
  /** Without this many bytes the disk would fall under its floor. */
  diskBytes: number;
  /** What eviction aims for once it has begun; reached as far as there are victims. */
  targetBytes: number;
}

/** How much must go, and how much should. All zero: it fits as it is. */
export function needFor(demand: SpaceDemand): SpaceNeed {
  const after = demand.usedBytes + demand.addBytes;
  const quotaBytes = Math.max(0, after - Math.floor(demand.quotaBytes * demand.highWater));
  const toLowWater = quotaBytes === 0 ? 0 : Math.max(0, after - lowBytes(demand));
  const { disk } = demand;
  const diskBytes =
    disk === undefined ? 0 : Math.max(0, disk.floorBytes + disk.unwrittenBytes + demand.addBytes - disk.freeBytes);
  return { quotaBytes, diskBytes, targetBytes: Math.max(toLowWater, diskBytes, quotaBytes) };
}

/** The low mark holds for what may go: else many pins would have everything beside them go each time. */
function lowBytes({ quotaBytes, highWater, lowWater, pinnedBytes }: SpaceDemand): number {
  return Math.floor(quotaBytes * lowWater + pinnedBytes * (1 - lowWater / highWater));
}

/**
 * Takes candidates in the order they come (the first is the one least missed) until the target is reached.
 * Undefined when even all of them would not free what must be freed.
 */
export function chooseVictims<T extends { bytes: number }>(candidates: Iterable<T>, need: SpaceNeed): T[] | undefined {
  const victims: T[] = [];
  if (need.targetBytes === 0) return victims;
  let freed = 0;
  for (const candidate of candidates) {
    if (freed >= need.targetBytes) break;
    victims.push(candidate);
    freed += candidate.bytes;
  }
  return freed >= Math.max(need.quotaBytes, need.diskBytes) ? victims : undefined;
}
