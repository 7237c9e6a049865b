import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from '@shoal/oci';
import type { ReferenceLookup, ReferenceQuery, ReferenceRecord, ReferenceReport, ReferenceTurn } from '@shoal/wire';
import type { Asker } from '../origin/asker.ts';
import { type OriginCall, OriginError, type Repository, type ResolvedManifest } from '../origin/origin-client.ts';
import { AskingScopes } from './asking-scope.ts';
import { ClusterLookups, type ClusterLookupsDependencies, type ClusterLookupsOptions } from './cluster-lookups.ts';

export function sha256(content: string | Uint8Array): Digest {
  const digest = parseDigest(`sha256:${createHash('sha256').update(content).digest('hex')}`);
  if (digest === undefined) throw new Error('not a digest');
  return digest;
}

/** Answers from two maps, `REGISTRY/NAME:REFERENCE` and `REGISTRY/NAME@DIGEST`, and counts what it is asked. */
export class FakeUpstream {
  readonly manifests = new Map<string, ResolvedManifest>();
  readonly blobs = new Map<string, number | undefined>();
  readonly asked: string[] = [];
  /** In whose name each question was asked. */
  readonly askers: Asker[] = [];
  /** Who is refused what, if anybody; the others get what there is. */
  refuses: (asker: Asker, key: string) => OriginError | undefined = () => undefined;
  /** What every call fails with, while set. */
  failure: OriginError | undefined;
  /** Every call waits for it. */
  gate: Promise<void> = Promise.resolve();

  async resolve({ registry, name }: Repository, reference: string, _accept: string, call: OriginCall) {
    const separator = reference.includes(':') ? '@' : ':';
    const found = await this.#answer(`${registry}/${name}${separator}${reference}`, call, this.manifests);
    if (found === undefined) throw new OriginError('not-found', 'no such manifest', { status: 404 });
    return found;
  }

  async stat({ registry, name }: Repository, digest: Digest, call: OriginCall) {
    const key = `${registry}/${name}@${digest}`;
    const sizeBytes = await this.#answer(key, call, this.blobs);
    if (!this.blobs.has(key)) throw new OriginError('not-found', 'no such blob', { status: 404 });
    return { sizeBytes };
  }

  async #answer<T>(key: string, call: OriginCall, held: Map<string, T>): Promise<T | undefined> {
    const { asker = 'node' } = call;
    this.asked.push(key);
    this.askers.push(asker);
    await this.gate;
    call.signal.throwIfAborted();
    const failure = this.failure ?? this.refuses(asker, key);
    if (failure !== undefined) throw failure;
    return held.get(key);
  }
}

/** The tracker's memory for references; whose turn it is, is up to the test. */
export class FakeReferences {
  /** Answers to lookups, one after the other; then every lookup finds no tracker. */
  readonly turns: (ReferenceTurn | Promise<ReferenceTurn | undefined>)[] = [];
  readonly lookups: ReferenceLookup[] = [];
  readonly reports: ReferenceReport[] = [];
  /** What is found while the origin cannot be asked, with every report. */
  readonly records: ReferenceRecord[] = [];

  async lookUpReference(lookup: ReferenceLookup): Promise<ReferenceTurn | undefined> {
    this.lookups.push(lookup);
    return await this.turns.shift();
  }

  reportReference(report: ReferenceReport): void {
    this.reports.push(report);
    if (report.said === 'found') this.records.push(report, { ...report, reference: report.digest });
  }

  async findReference(query: ReferenceQuery): Promise<ReferenceRecord | undefined> {
    return this.records.findLast(
      (record) =>
        record.registry === query.registry &&
        record.repository === query.repository &&
        record.reference === query.reference &&
        record.scope === query.scope,
    );
  }
}

/** Lookups as an agent makes them that knows no credentials. */
export function anonymousLookups(
  dependencies: Pick<ClusterLookupsDependencies, 'origin' | 'tracker' | 'now'>,
  options: ClusterLookupsOptions = {},
): ClusterLookups {
  const scopes = new AskingScopes({ registries: {}, joinSecret: undefined });
  return new ClusterLookups(options, { ...dependencies, scopes });
}
