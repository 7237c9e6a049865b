/**
 * A run: nodes pull in loops while the faults of a schedule are done to them, then everything is whole again and must work
 * as if nothing had been. Whatever is not as it must be becomes a problem, told with what was around it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '@shoal/swarm';
import { inLanes } from '../../bench/rig/lanes.ts';
import { failureAccount, type JudgedPull, type Tally } from './account.ts';
import { ChaosField } from './chaos-field.ts';
import type { ChaosNode } from './chaos-node.ts';
import type { Fault, FaultRecord, Place } from './fault.ts';
import { inflict } from './inflict.ts';
import { type PullRecord, verdictOf } from './judge.ts';
import { unhandled } from './log-check.ts';
import { type PullerDependencies, pullAndRemove, pullInLoop } from './puller.ts';
import { faultSchedule } from './schedule.ts';

/** At the end no fault is begun: pulls that are under way then have time to end. */
const QUIET_MS = 5_000;
const WEIGH_INTERVAL_MS = 1_000;
const READY_WITHIN_MS = 60_000;
const READY_POLL_MS = 250;
const MAX_RSS_BYTES: number = 300 * 1024 ** 2;
/** An account is long, and the first ones say the most. */
const MOST_ACCOUNTS = 5;
const MOST_LINES = 20;

export interface ChaosOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Of the pulls and faults; what comes before and after is not counted. */
  readonly durationMs: number;
}

export interface ChaosReading extends Tally {
  /** One pull of each image on each node, when all was whole again. */
  readonly lastPulls: readonly JudgedPull[];
  /** Empty when everything was as it must be. */
  readonly problems: readonly string[];
}

/** Nothing is left when it settles. @throws when the cluster does not come up, or the signal's reason */
export async function runChaos(options: ChaosOptions, signal: AbortSignal): Promise<ChaosReading> {
  await using field = await ChaosField.prepare(options.nodes, signal);
  return await new ChaosRun(options, field, signal).play();
}

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #field: ChaosField;
  readonly #signal: AbortSignal;
  readonly #epochMs = Date.now();
  readonly #startedMs = performance.now();
  readonly #faults: FaultRecord[] = [];
  readonly #problems: string[] = [];

  constructor(options: ChaosOptions, field: ChaosField, signal: AbortSignal) {
    this.#options = options;
    this.#field = field;
    this.#signal = signal;
  }

  async play(): Promise<ChaosReading> {
    const { seed, nodes, durationMs } = this.#options;
    const schedule = faultSchedule({ seed, nodes, durationMs: durationMs - QUIET_MS });
    const over = new AbortController();
    const weighing = this.#weighUntil(over.signal);
    const pulls: PullRecord[] = [];
    await Promise.all([this.#playFaults(schedule), this.#pullInLoops(pulls)]);
    if (!this.#signal.aborted) await this.#untilReady();
    const lastPulls: PullRecord[] = [];
    if (!this.#signal.aborted) await this.#pullEach(lastPulls);
    over.abort();
    await weighing;
    this.#signal.throwIfAborted();
    const originBytes = (await this.#field.network.counts(this.#field.origin.host)).up.bytes;
    await inLanes(this.#field.nodes, (node) => this.#verify(node));
    const left = await this.#field.endProcesses();
    if (left.length > 0) this.#problems.push(`processes are left: ${left.join(', ')}`);
    const judged = this.#judge(pulls);
    const judgedLast = this.#judge(lastPulls);
    this.#checkLives();
    const lives = this.#field.nodes.flatMap(({ agent }) => agent.lives);
    const peakRssBytes = Math.max(...lives.map((life) => life.peakRssBytes));
    if (peakRssBytes > MAX_RSS_BYTES) this.#problems.push(`an agent took ${peakRssBytes} bytes of memory`);
    const pulledBytes = this.#bytesOf([...judged, ...judgedLast]);
    return {
      seed,
      pulls: judged,
      lastPulls: judgedLast,
      faults: this.#faults,
      pulledBytes,
      originBytes,
      peakRssBytes,
      problems: this.#problems,
    };
  }

  #now(): number {
    return performance.now() - this.#startedMs;
  }

  /** Those of one place one after the other, also where one takes longer than it was meant to. Never throws. */
  async #playFaults(schedule: readonly Fault[]): Promise<void> {
    const underWay = new Map<Place, Promise<void>>();
    for (const fault of schedule) {
      await sleep(Math.max(0, fault.startMs - this.#now()), undefined, { signal: this.#signal }).catch(() => undefined);
      const before = underWay.get(fault.place) ?? Promise.resolve();
      underWay.set(
        fault.place,
        before.then(() => this.#playFault(fault)),
      );
    }
    await Promise.all(underWay.values());
  }

  async #playFault({ kind, place, startMs, endMs }: Fault): Promise<void> {
    if (this.#signal.aborted || this.#now() > this.#options.durationMs - QUIET_MS) return;
    const record: FaultRecord = { kind, place, beganMs: this.#now(), endedMs: undefined };
    this.#faults.push(record);
    try {
      const undo = await inflict(kind, place, this.#field, this.#signal);
      await sleep(endMs - startMs);
      await undo();
    } catch (error) {
      this.#problems.push(`${kind} at ${place}: ${error instanceof Error ? error.message : String(error)}`);
    }
    record.endedMs = this.#now();
  }

  async #pullInLoops(pulls: PullRecord[]): Promise<void> {
    const { nodes, images } = this.#field;
    const { seed, durationMs } = this.#options;
    const loops = nodes.map((node, index) => {
      const random = seededRandom(seed + index + 1);
      const options = { shared: images.shared, own: images.own[index]!, random, untilMs: durationMs };
      return this.#client(node, pullInLoop(node, options, this.#puller(pulls)));
    });
    await Promise.all(loops);
  }

  /** Every node every image, each node in another order. */
  async #pullEach(pulls: PullRecord[]): Promise<void> {
    const { nodes, images } = this.#field;
    const all = [...images.shared, ...images.own];
    const round = async (node: ChaosNode, index: number): Promise<void> => {
      for (const image of [...all.slice(index), ...all.slice(0, index)]) {
        await pullAndRemove(node, image, this.#puller(pulls));
      }
    };
    await Promise.all(nodes.map((node, index) => this.#client(node, round(node, index))));
  }

  /** Never throws. */
  async #client(node: ChaosNode, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#problems.push(`the client of ${node.place}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Of those that ended well. */
  #bytesOf(pulls: readonly JudgedPull[]): number {
    const { shared, own } = this.#field.images;
    const sizes = new Map([...shared, ...own].map(({ repository, totalBytes }) => [repository, totalBytes]));
    const well = pulls.filter(({ verdict }) => verdict.type === 'well');
    return well.reduce((sum, { pull }) => sum + (sizes.get(pull.image) ?? 0), 0);
  }

  #puller(pulls: PullRecord[]): PullerDependencies {
    return {
      nodes: this.#field.nodes,
      now: () => this.#now(),
      note: (pull) => {
        this.#signal.throwIfAborted();
        pulls.push(pull);
      },
    };
  }

  async #untilReady(): Promise<void> {
    const deadlineMs = this.#now() + READY_WITHIN_MS;
    for (const node of this.#field.nodes) {
      while (!(await node.isReady())) {
        if (this.#now() > deadlineMs) {
          this.#problems.push(`the agent of ${node.place} is not ready again within ${READY_WITHIN_MS} ms`);
          break;
        }
        await sleep(READY_POLL_MS);
      }
    }
  }

  async #verify(node: ChaosNode): Promise<void> {
    const { code, stdout, stderr } = await node.verify();
    if (code === 0) return;
    this.#problems.push(`shoal cache verify of ${node.place} ended with ${code}: ${stdout}${stderr}`);
  }

  async #weighUntil(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await Promise.all(this.#field.nodes.map(({ agent }) => agent.weigh()));
      await sleep(WEIGH_INTERVAL_MS, undefined, { signal: over }).catch(() => undefined);
    }
  }

  #judge(pulls: readonly PullRecord[]): JudgedPull[] {
    const judged = pulls.map((pull) => ({ pull, verdict: verdictOf(pull, this.#faults) }));
    const failed = judged.filter(({ verdict }) => verdict.type === 'failed');
    for (const each of failed.slice(0, MOST_ACCOUNTS)) {
      const lives = this.#field.nodes.find(({ place }) => place === each.pull.node)?.agent.lives ?? [];
      this.#problems.push(failureAccount(each, this.#faults, lives, this.#epochMs));
    }
    if (failed.length > MOST_ACCOUNTS) this.#problems.push(`and ${failed.length - MOST_ACCOUNTS} more pulls failed`);
    return judged;
  }

  #checkLives(): void {
    const daemons = [
      ...this.#field.nodes.map(({ place, agent }) => [`the agent of ${place}`, agent] as const),
      ['the tracker', this.#field.tracker] as const,
    ];
    for (const [name, daemon] of daemons) {
      const { lives } = daemon;
      for (const { log, ended, isCrash } of lives) {
        if (isCrash) this.#problems.push(`${name} ended by itself (${ended}):\n${lastLines(log)}`);
        const lines = unhandled(log);
        if (lines.length > 0) this.#problems.push(`the log of ${name}:\n${lines.slice(0, MOST_LINES).join('\n')}`);
      }
      const last = lives.at(-1);
      if (last?.ended !== 'exit code 0') this.#problems.push(`${name} was told to stop at the end: ${last?.ended}`);
    }
  }
}

function lastLines(log: string): string {
  return log.split('\n').slice(-MOST_LINES).join('\n');
}
