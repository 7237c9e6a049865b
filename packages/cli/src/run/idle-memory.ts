/**
 * Gives memory back when a program has nothing to do. What V8 took for the last work, loading the program included, it keeps for
 * the next: of an agent's 130 MiB after its start nobody needs 20. Collecting everything takes about a tenth of a second, in which
 * nothing else happens; so it is done once after each time of work, when the program has idled for a while.
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Shares of the time in which the event loop had something to do. Between both, things are left as they are. */
const IDLE_SHARE = 0.05;
const WORKING_SHARE = 0.1;
const LOOK_EVERY_MS = 5_000;

export class IdleMemory {
  readonly #giveBack: () => void;
  #hasWorked = true;

  constructor(giveBack: () => void) {
    this.#giveBack = giveBack;
  }

  /** @param share 0 to 1, of the time since it was last called, in which there was something to do */
  look(share: number): void {
    if (share > WORKING_SHARE) this.#hasWorked = true;
    if (share > IDLE_SHARE || !this.#hasWorked) return;
    this.#hasWorked = false;
    this.#giveBack();
  }
}

/** For the program that calls it, from now on. Returns what ends it. */
export function giveBackIdleMemory(): () => void {
  const memory = new IdleMemory(collectEverything);
  let last = performance.eventLoopUtilization();
  const timer = setInterval(() => {
    const now = performance.eventLoopUtilization();
    memory.look(performance.eventLoopUtilization(now, last).utilization);
    last = now;
  }, LOOK_EVERY_MS).unref();
  return () => clearInterval(timer);
}

/** V8 as it would be on its last resort: it compacts the heap and returns the pages. Node hands the function out to new contexts alone. */
function collectEverything(): void {
  setFlagsFromString('--expose-gc');
  const gc: NodeJS.GCFunction = runInNewContext('gc');
  gc({ type: 'major', flavor: 'last-resort' });
}
