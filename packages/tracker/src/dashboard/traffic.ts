/** What moved in the cluster over the last minutes, out of counters that each agent keeps since its own start. */
import type { NodeReport } from '@shoal/wire';
import type { MovedBytes, TrafficSample } from './answers.ts';

export const SAMPLE_EVERY_MS = 5_000;
export const MAX_SAMPLES = 180;
/** Nothing is faster than 100 Gbit/s; a member that says so would only spoil the picture for everybody else. */
const MAX_BYTES_PER_MS = 12_500_000;

export class Traffic {
  readonly #samples: TrafficSample[] = [];
  readonly #total: MovedBytes = { fromOrigin: 0, fromPeers: 0, toClients: 0 };

  get total(): MovedBytes {
    return { ...this.#total };
  }

  /**
   * An agent's counters are now these. @param before what they were `elapsedMs` ago; a counter that is less than that began
   * again at nothing
   */
  moved(before: NodeReport['bytes'], now: NodeReport['bytes'], elapsedMs: number, nowMs: number): void {
    const most = Math.max(1, elapsedMs) * MAX_BYTES_PER_MS;
    const sample = this.#sampleAt(nowMs);
    for (const key of ['fromOrigin', 'fromPeers', 'toClients'] as const) {
      const grown = Math.min(most, now[key] < before[key] ? now[key] : now[key] - before[key]);
      sample[key] += grown;
      this.#total[key] += grown;
    }
  }

  /** The oldest first, up to now and without gaps. */
  samples(nowMs: number): TrafficSample[] {
    this.#sampleAt(nowMs);
    return this.#samples.map((sample) => ({ ...sample }));
  }

  #sampleAt(nowMs: number): TrafficSample {
    const atMs = Math.floor(nowMs / SAMPLE_EVERY_MS) * SAMPLE_EVERY_MS;
    const last = this.#samples.at(-1);
    // A clock that was set back fills the sample that is there.
    if (last !== undefined && last.atMs >= atMs) return last;
    const missing = last === undefined ? 1 : Math.min(MAX_SAMPLES, (atMs - last.atMs) / SAMPLE_EVERY_MS);
    for (let left = missing - 1; left >= 0; left--) {
      this.#samples.push({ atMs: atMs - left * SAMPLE_EVERY_MS, fromOrigin: 0, fromPeers: 0, toClients: 0 });
    }
    this.#samples.splice(0, this.#samples.length - MAX_SAMPLES);
    return this.#samples.at(-1) as TrafficSample;
  }
}
