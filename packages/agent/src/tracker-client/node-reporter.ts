/**
 * Tells the tracker how this node is, as often as the tracker asked for: while something changes at each turn, else now and
 * then. What it tells is for people alone; a report that does not arrive is not sent again.
 */
import type { Random } from '@shoal/swarm';
import { type NodeReport, REPORT_AGAIN_MS } from '@shoal/wire';
import type { TrackerLink } from './tracker-link.ts';

export interface NodeReporterDependencies {
  link: Pick<TrackerLink, 'up' | 'tell'>;
  report: () => NodeReport;
  clock: () => number;
  random: Random;
}

export class NodeReporter {
  readonly #dependencies: NodeReporterDependencies;
  #everyMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #told = '';
  #toldAtMs = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(dependencies: NodeReporterDependencies) {
    this.#dependencies = dependencies;
  }

  /** @param everyMs undefined: the tracker wants no reports */
  setEvery(everyMs: number | undefined): void {
    if (everyMs === this.#everyMs || this.#closed) return;
    this.#everyMs = everyMs;
    if (everyMs === undefined) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      return;
    }
    // While the cluster grows the pace is another one at each announcement: begun anew each time, the wait would never end.
    if (this.#timer !== undefined) return;
    // A whole cluster hears this in the same moment, when its tracker has come back.
    this.#tellIn(everyMs * this.#dependencies.random());
  }

  /** The tracker knows nothing any more. */
  forgetTold(): void {
    this.#told = '';
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #tellIn(waitMs: number): void {
    this.#timer = setTimeout(() => {
      this.#tell();
      if (this.#everyMs !== undefined) this.#tellIn(this.#everyMs);
    }, waitMs).unref();
  }

  #tell(): void {
    const { link, report, clock } = this.#dependencies;
    if (!link.up) return;
    const now = report();
    const text = JSON.stringify(now);
    if (text === this.#told && clock() - this.#toldAtMs < REPORT_AGAIN_MS) return;
    this.#told = text;
    this.#toldAtMs = clock();
    link.tell('/v1/node', now);
  }
}
