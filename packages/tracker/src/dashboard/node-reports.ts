/**
 * What each agent said last of itself. Members alone report, and only those count that are in the directory, so there are no
 * more than that has. Of a blob that many pull everything that is the same for all is kept once.
 */
import type { NodeReport } from '@shoal/wire';
import type { Directory } from '../directory/directory.ts';
import type { ActiveBlobs } from './active-blobs.ts';
import { Traffic } from './traffic.ts';

/** Three reports of an agent of which nothing changes. */
export const REPORT_TTL_MS = 90_000;

export interface KnownNode extends Omit<NodeReport, 'pulls'> {
  atMs: number;
  pulls: number;
}

export interface NodeReportsDependencies {
  directory: Pick<Directory, 'agent' | 'stateOf'>;
  blobs: ActiveBlobs;
}

export class NodeReports {
  readonly traffic: Traffic = new Traffic();
  readonly #dependencies: NodeReportsDependencies;
  /** The longest silent first. */
  readonly #nodes = new Map<string, KnownNode>();
  readonly #cache = { bytes: 0, quotaBytes: 0 };

  constructor(dependencies: NodeReportsDependencies) {
    this.#dependencies = dependencies;
  }

  get size(): number {
    return this.#nodes.size;
  }

  /** Of all nodes together. */
  get cache(): { bytes: number; quotaBytes: number } {
    return { ...this.#cache };
  }

  of(peerId: string): KnownNode | undefined {
    return this.#nodes.get(peerId);
  }

  take(peerId: string, report: NodeReport, nowMs: number): void {
    this.expire(nowMs);
    const { directory, blobs } = this.#dependencies;
    if (directory.agent(peerId) === undefined) return;
    const before = this.#nodes.get(peerId);
    // The first report says what was before this tracker knew of it.
    if (before !== undefined) this.traffic.moved(before.bytes, report.bytes, nowMs - before.atMs, nowMs);
    this.forget(peerId);
    const { pulls, ...rest } = report;
    this.#nodes.set(peerId, { ...rest, pulls: pulls.length, atMs: nowMs });
    this.#cache.bytes += rest.cache.bytes;
    this.#cache.quotaBytes += rest.cache.quotaBytes;
    // Nobody brings up a blob that it did not announce.
    blobs.reported(
      peerId,
      pulls.filter(({ blob }) => directory.stateOf(peerId, blob) !== undefined),
      nowMs,
    );
  }

  forget(peerId: string): void {
    const node = this.#nodes.get(peerId);
    if (node === undefined) return;
    this.#nodes.delete(peerId);
    this.#cache.bytes -= node.cache.bytes;
    this.#cache.quotaBytes -= node.cache.quotaBytes;
  }

  expire(nowMs: number): void {
    for (const [peerId, { atMs }] of this.#nodes) {
      if (nowMs - atMs < REPORT_TTL_MS) break;
      this.forget(peerId);
    }
  }
}
