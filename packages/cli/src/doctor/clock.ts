/** Whether this machine's clock agrees with the tracker's: membership certificates are valid from then until then. */
import type { TrackerFact } from './facts.ts';
import { type Finding, named } from './finding.ts';

/** A tracker takes no agent whose clock is further off: 5 min. */
const REFUSED_FROM_MS: number = 5 * 60_000;
/** Beyond what a slow answer explains, and early enough to be mended before it hurts: 10 s. */
const WARN_FROM_MS = 10_000;
const SET = 'set the clock: timedatectl set-ntp true (chronyc makestep, if chrony keeps it)';

export function checkClock(trackers: readonly TrackerFact[]): Finding {
  const { ok, warn, fail, skip } = named('clock');
  const told = trackers.flatMap(({ url, aheadMs }) => (aheadMs === undefined ? [] : [{ url, aheadMs }]));
  const [worst] = told.sort((a, b) => Math.abs(b.aheadMs) - Math.abs(a.aheadMs));
  if (worst === undefined) {
    return skip(trackers.length === 0 ? 'there is no tracker to compare it with' : 'no tracker told the time');
  }
  const { url, aheadMs } = worst;
  const seconds = Math.abs(aheadMs) / 1_000;
  if (seconds * 1_000 < WARN_FROM_MS) return ok(`within ${Math.max(1, Math.ceil(seconds))} s of the tracker's`);
  const detail = `${Math.round(seconds)} s ${aheadMs < 0 ? 'behind' : 'ahead of'} the clock of ${url}`;
  return seconds * 1_000 >= REFUSED_FROM_MS
    ? fail(`${detail}; agents that are 5 min off are refused`, SET)
    : warn(detail, SET);
}
