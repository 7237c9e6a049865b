/**
 * What this agent does for others' disputes: two members signed different hashes for a piece, and the tracker asks this
 * one, which has to do with neither, to read that piece from the origin and to say what it is.
 */
import type { Logger } from 'pino';
import type { OriginClient } from '../origin/origin-client.ts';
import type { PeerNetwork } from '../peers/peer-network.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import type { SizedBlob } from './blob-size.ts';
import { readOriginPiece } from './origin-run.ts';
import type { PullSource } from './pulls.ts';

/** The tracker asks somebody else after this. */
const TESTIFY_WITHIN_MS = 5_000;
const MAX_DUTIES = 2;

export interface WitnessDutyDependencies {
  origin: OriginClient;
  network: Pick<PeerNetwork, 'attest'>;
  tracker: Pick<TrackerClient, 'report'>;
  logger: Logger;
}

export class WitnessDuty {
  readonly #dependencies: WitnessDutyDependencies;
  /** Pieces being read; the tracker may ask for one again meanwhile. */
  readonly #duties = new Set<string>();
  readonly #closing = new AbortController();

  constructor(dependencies: WitnessDutyDependencies) {
    this.#dependencies = dependencies;
  }

  /** Reads the piece in the background, bounded in number and time; nobody waits for it. */
  testify(target: SizedBlob, source: PullSource, index: number): void {
    const key = `${target.blob} ${index}`;
    if (this.#closing.signal.aborted || this.#duties.size >= MAX_DUTIES || this.#duties.has(key)) return;
    this.#duties.add(key);
    this.#readAndReport(target, source, index)
      .catch((err: unknown) => this.#dependencies.logger.debug({ err, index, blob: target.blob }, 'no witness'))
      .finally(() => this.#duties.delete(key));
  }

  close(): void {
    this.#closing.abort();
  }

  async #readAndReport({ blob, sizeBytes }: SizedBlob, source: PullSource, index: number): Promise<void> {
    const { origin, network, tracker } = this.#dependencies;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(TESTIFY_WITHIN_MS)]);
    const piece = { blob, sizeBytes, index };
    const { sha256 } = await readOriginPiece(origin, source, piece, { whole: true }, signal);
    const counter = network.attest(piece, sha256);
    if (counter.length > 0) await tracker.report({ ...piece, counter });
  }
}
