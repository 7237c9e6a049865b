/** All nodes of a cluster pull one image at the same moment; each pull is on its own, so one may fail. */
import type { ClusterAgent } from './cluster.ts';
import { nodeSources } from './node-metrics.ts';
import type { NodeProgress } from './progress.ts';
import { type PulledImage, type PullTarget, pullImage } from './pull-client.ts';

const METRICS_INTERVAL_MS = 1_000;
/** Asking more agents every second would itself be load. */
const MAX_WATCHED_AGENTS = 8;

/** As much of an agent as is needed to pull through it. */
export type PulledAgent = Pick<ClusterAgent, 'name' | 'mirrorUrl' | 'metrics'>;

export interface PullOutcome {
  agent: PulledAgent;
  seconds: number | undefined;
  image: PulledImage | undefined;
  failure: Error | undefined;
}

export class SimultaneousPulls {
  readonly #agents: readonly PulledAgent[];
  readonly #progress: NodeProgress[];

  constructor(agents: readonly PulledAgent[]) {
    this.#agents = agents;
    this.#progress = agents.map(({ name }) => ({
      node: name,
      receivedBytes: 0,
      totalBytes: undefined,
      state: 'pulling',
    }));
  }

  progress(): readonly NodeProgress[] {
    return this.#progress;
  }

  /** Rejects only when the signal aborts; a failed pull is an outcome. */
  async run(target: Omit<PullTarget, 'mirrorUrl'>, signal: AbortSignal): Promise<PullOutcome[]> {
    const startMs = performance.now();
    const watch = this.#watchSources();
    try {
      return await Promise.all(
        this.#agents.map((agent, index) => this.#pull(agent, this.#progress[index], target, startMs, signal)),
      );
    } finally {
      clearInterval(watch);
    }
  }

  async #pull(
    agent: PulledAgent,
    progress: NodeProgress | undefined,
    target: Omit<PullTarget, 'mirrorUrl'>,
    startMs: number,
    signal: AbortSignal,
  ): Promise<PullOutcome> {
    const outcome: PullOutcome = { agent, seconds: undefined, image: undefined, failure: undefined };
    const onProgress = (receivedBytes: number, totalBytes: number | undefined): void => {
      if (progress !== undefined) Object.assign(progress, { receivedBytes, totalBytes });
    };
    try {
      outcome.image = await pullImage({ ...target, mirrorUrl: agent.mirrorUrl }, { onProgress, signal });
      outcome.seconds = (performance.now() - startMs) / 1000;
    } catch (error) {
      signal.throwIfAborted();
      outcome.failure = error instanceof Error ? error : new Error(String(error));
    }
    if (progress !== undefined) progress.state = outcome.failure === undefined ? 'done' : 'failed';
    return outcome;
  }

  #watchSources(): NodeJS.Timeout | undefined {
    if (this.#agents.length > MAX_WATCHED_AGENTS) return undefined;
    return setInterval(() => {
      for (const [index, agent] of this.#agents.entries()) {
        const progress = this.#progress[index];
        if (progress?.state !== 'pulling') continue;
        agent.metrics().then(
          (samples) => {
            const { bytesFromPeers, bytesFromOrigin } = nodeSources(samples);
            progress.sources = { peers: bytesFromPeers, origin: bytesFromOrigin };
          },
          // A busy agent may answer late; the next second asks again.
          () => {},
        );
      }
    }, METRICS_INTERVAL_MS);
  }
}
