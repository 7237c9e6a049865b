/**
 * What a rollout uses while it goes on, looked at a few times a second: bytes over the interfaces of origin and nodes, CPU and
 * memory of every process. What a process that was killed had used until then still counts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { cpuSeconds, type InterfaceBytes, interfaceBytes, machineBusySeconds, peakRssBytes } from '../rig/proc.ts';
import { HOST_DEVICE } from '../rig/rig-network.ts';

const INTERVAL_MS = 500;
/** An hour. */
const MAX_SAMPLES = 7_200;

export type MeteredKind = 'agent' | 'tracker' | 'cache' | 'rival' | 'runtime' | 'origin';

export interface Metered {
  readonly kind: MeteredKind;
  readonly pid: number;
}

export interface ProcessUse {
  readonly kind: MeteredKind;
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

export interface RateSample {
  /** Since the pulls began. */
  readonly seconds: number;
  /** All since then. */
  readonly originBytes: number;
  readonly nodeBytes: readonly number[];
}

export class Meter {
  readonly #origin: number;
  readonly #nodes: readonly number[];
  readonly #processes: () => readonly Metered[];
  readonly #before = new Map<number, number>();
  readonly #uses = new Map<number, ProcessUse>();
  readonly #samples: RateSample[] = [];
  readonly #stop = new AbortController();
  #startedMs = 0;
  #busyBefore = 0;
  #first: InterfaceBytes[] = [];
  #last: InterfaceBytes[] = [];
  #loop: Promise<void> = Promise.resolve();

  /** @param nodes a process on each node, for its interface; `origin` the same of the origin; `processes` that there are now */
  constructor(origin: number, nodes: readonly number[], processes: () => readonly Metered[]) {
    this.#origin = origin;
    this.#nodes = nodes;
    this.#processes = processes;
  }

  async start(): Promise<void> {
    await Promise.all(
      this.#processes().map(async ({ pid }) => this.#before.set(pid, await cpuSeconds(pid).catch(() => 0))),
    );
    this.#busyBefore = await machineBusySeconds();
    this.#first = await this.#counters();
    this.#last = this.#first;
    this.#startedMs = performance.now();
    this.#loop = this.#run();
  }

  /** Bytes that came to each node so far. */
  get received(): number[] {
    return this.#last.slice(1).map(({ received }, node) => received - this.#first[node + 1]!.received);
  }

  async end(): Promise<{
    samples: readonly RateSample[];
    uses: readonly ProcessUse[];
    /** As the kernel counts them, before and after; the origin's first. */
    counters: { before: readonly InterfaceBytes[]; after: readonly InterfaceBytes[] };
    machineBusySeconds: number;
  }> {
    this.#stop.abort();
    await this.#loop;
    await this.#look();
    return {
      samples: this.#samples,
      uses: [...this.#uses.values()],
      counters: { before: this.#first, after: this.#last },
      machineBusySeconds: (await machineBusySeconds()) - this.#busyBefore,
    };
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted && this.#samples.length < MAX_SAMPLES) {
      await this.#look();
      await sleep(INTERVAL_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  async #look(): Promise<void> {
    this.#last = await this.#counters();
    this.#samples.push({
      seconds: (performance.now() - this.#startedMs) / 1_000,
      originBytes: this.#last[0]!.sent - this.#first[0]!.sent,
      nodeBytes: this.received,
    });
    await Promise.all(this.#processes().map((metered) => this.#lookAt(metered)));
  }

  async #lookAt({ kind, pid }: Metered): Promise<void> {
    try {
      const [cpu, rss] = await Promise.all([cpuSeconds(pid), peakRssBytes(pid)]);
      const since = cpu - (this.#before.get(pid) ?? 0);
      this.#uses.set(pid, { kind, cpuSeconds: since, peakRssBytes: rss });
    } catch {
      // It is gone; what it had used is known.
    }
  }

  async #counters(): Promise<InterfaceBytes[]> {
    return await Promise.all([this.#origin, ...this.#nodes].map((pid) => interfaceBytes(pid, HOST_DEVICE)));
  }
}
