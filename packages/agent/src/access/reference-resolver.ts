/**
 * What a tag is now, for those who may read the repository (`admission.ts`). Within the freshness window the last answer
 * counts; after it the origin is asked (a HEAD, which counts nowhere) by one member of the cluster for all (`cluster-lookups.ts`), and callers who ask this agent at the same
 * moment share one question. Only when the origin cannot be asked (down, slow, or rate-limited) does an older answer
 * count: the newest of what this agent and the rest of the cluster were last told. A plain no from the origin is never
 * overruled.
 */
import { acceptCovers, type Digest, parseDigest } from '@shoal/oci';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { z } from 'zod';
import { type Asker, askerKey, type ClientAuthorization } from '../origin/asker.ts';
import type { OriginCall, OriginError, Repository, ResolvedManifest } from '../origin/origin-client.ts';
import type { BlobStore } from '../store/blob-store.ts';
import { acceptClass } from './accept-class.ts';
import type { Admissions, Said } from './admission.ts';
import type { ClusterLookups } from './cluster-lookups.ts';
import { SharedLookups } from './shared-lookups.ts';
import type { TagPolicies } from './tag-policy.ts';

/** The same answer is not written down again within a minute. */
const RECORD_AGAIN_AFTER_MS = 60_000;
const MAX_CACHED = 1024;
/** One answer per media type: a tag can be an index to one client and a plain manifest to another. */
const MAX_ANSWERS_PER_TAG = 4;
const PREFIX = 'reference/';

export interface Resolution extends ResolvedManifest {
  /** The origin could not be asked; this is what it last said. */
  stale: boolean;
}

export interface TagRequest {
  repository: Repository;
  tag: string;
  /** As the client sent it; empty when it sent none. */
  accept: string;
  /** What the client sent in Authorization. */
  client?: ClientAuthorization | undefined;
}

export interface References {
  /** `asker`: in whose name the manifest is read, should it have to come from the origin. @throws OriginError, or the reason of `call.signal` */
  resolve(request: TagRequest, call: OriginCall): Promise<Resolution & { asker: Asker }>;
}

export interface ReferenceResolverDependencies {
  admissions: Admissions;
  lookups: Pick<ClusterLookups, 'resolve' | 'lastTold' | 'distrust' | 'isDistrusted'>;
  notes: BlobStore['notes'];
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
}

const answersSchema = z.array(
  z.object({ digest: z.string(), mediaType: z.string(), sizeBytes: z.number(), resolvedAtMs: z.number() }),
);
type Answer = ResolvedManifest & { resolvedAtMs: number };

export class ReferenceResolver implements References {
  readonly #policyOf: TagPolicies;
  readonly #dependencies: ReferenceResolverDependencies;
  readonly #lookups = new SharedLookups<Said<Resolution>>();
  readonly #latest = new LRUCache<string, Answer & { writtenAtMs: number }>({ max: MAX_CACHED });

  constructor(policyOf: TagPolicies, dependencies: ReferenceResolverDependencies) {
    this.#policyOf = policyOf;
    this.#dependencies = dependencies;
  }

  async resolve(request: TagRequest, call: OriginCall): Promise<Resolution & { asker: Asker }> {
    const { repository, tag, accept, client } = request;
    const key = `${keyOf(repository, tag)} ${acceptClass(accept)}`;
    const { answer, asker } = await this.#dependencies.admissions.put<Resolution>(repository, client, {
      recall: async () => this.#fresh(key, repository),
      ask: (asker) =>
        this.#lookups.run(`${key} ${askerKey(asker)}`, call.signal, (signal) =>
          this.#ask(key, request, { ...call, signal, asker }),
        ),
      fallBack: (to, error) => this.#lastKnown(request, to, call, error),
    });
    return { ...answer, asker };
  }

  /** What this agent was last told that a tag is: one digest per media type, the newest first. */
  async known(repository: Repository, tag: string): Promise<Digest[]> {
    const answers = [...(await this.#noted(repository, tag))].sort((a, b) => b.resolvedAtMs - a.resolvedAtMs);
    return answers.map(({ digest }) => digest);
  }

  /** Forgets what the tag was: the registry, and no member, says what it is the next time. */
  async forget(repository: Repository, tag: string): Promise<void> {
    const name = keyOf(repository, tag);
    for (const key of this.#latest.keys()) if (key.startsWith(`${name} `)) this.#latest.delete(key);
    this.#dependencies.lookups.distrust({ repository, reference: tag });
    await this.#dependencies.notes.delete(name);
  }

  /** Forgets answers too old to be given. Meant to be called once, at the agent's start. */
  async prune(): Promise<void> {
    const { notes } = this.#dependencies;
    for await (const [key, value] of notes.entries(PREFIX)) {
      const registry = key.slice(PREFIX.length, key.indexOf('/', PREFIX.length));
      if (!decode(value).some((answer) => this.#isUsable(answer, registry))) await notes.delete(key);
    }
  }

  #fresh(key: string, { registry }: Repository): Resolution | undefined {
    const latest = this.#latest.get(key);
    const { freshMs } = this.#policyOf(registry);
    const isFresh = latest !== undefined && this.#dependencies.now() - latest.resolvedAtMs < freshMs;
    return isFresh ? resolutionOf(latest, false) : undefined;
  }

  async #ask(key: string, { repository, tag, accept }: TagRequest, call: OriginCall): Promise<Said<Resolution>> {
    const { lookups } = this.#dependencies;
    const answer = await lookups.resolve({ repository, reference: tag, accept }, call);
    if (!lookups.isDistrusted({ repository, reference: tag }, answer.resolvedAtMs)) {
      await this.#record(key, repository, tag, answer);
    }
    return { answer: resolutionOf(answer, false), atMs: answer.resolvedAtMs };
  }

  async #record(key: string, repository: Repository, tag: string, answer: Answer): Promise<void> {
    const before = this.#latest.get(key);
    const isWritten =
      before?.digest === answer.digest && answer.resolvedAtMs - before.writtenAtMs < RECORD_AGAIN_AFTER_MS;
    this.#latest.set(key, { ...answer, writtenAtMs: isWritten ? before.writtenAtMs : answer.resolvedAtMs });
    if (isWritten) return;
    const { notes, logger } = this.#dependencies;
    try {
      const noteKey = keyOf(repository, tag);
      const others = decode(await notes.get(noteKey)).filter((other) => other.mediaType !== answer.mediaType);
      await notes.put(noteKey, JSON.stringify([answer, ...others].slice(0, MAX_ANSWERS_PER_TAG)));
    } catch (err) {
      // Tried again with the next answer: a full disk may have room then.
      this.#latest.set(key, { ...answer, writtenAtMs: Number.NEGATIVE_INFINITY });
      logger.warn({ err, tag }, 'cannot note what a tag is');
    }
  }

  async #lastKnown(
    { repository, tag, accept }: TagRequest,
    { asker, isAdmitted }: { asker: Asker; isAdmitted: boolean },
    call: OriginCall,
    error: OriginError,
  ): Promise<Said<Resolution>> {
    const [noted, told] = await Promise.all([
      isAdmitted ? this.#noted(repository, tag) : [],
      this.#told(repository, tag, asker),
    ]);
    const newest = [...noted, ...told]
      .filter((answer) => this.#isUsable(answer, repository.registry) && acceptCovers(accept, answer.mediaType))
      .sort((a, b) => b.resolvedAtMs - a.resolvedAtMs)[0];
    if (newest === undefined) throw error;
    this.#dependencies.logger.warn(
      { pullId: call.pullId, repository, tag, digest: newest.digest, code: error.code, toldAtMs: newest.resolvedAtMs },
      'the origin cannot be asked: answering with what the tag last was',
    );
    return { answer: resolutionOf(newest, true), atMs: newest.resolvedAtMs };
  }

  async #noted(repository: Repository, tag: string): Promise<Answer[]> {
    try {
      return decode(await this.#dependencies.notes.get(keyOf(repository, tag)));
    } catch (err) {
      this.#dependencies.logger.warn({ err, tag }, 'cannot read what a tag was');
      return [];
    }
  }

  async #told(repository: Repository, tag: string, asker: Asker): Promise<Answer[]> {
    const record = await this.#dependencies.lookups.lastTold(repository, tag, asker);
    return record === undefined ? [] : [record];
  }

  #isUsable({ resolvedAtMs }: Answer, registry: string): boolean {
    return this.#dependencies.now() - resolvedAtMs < this.#policyOf(registry).maxStaleMs;
  }
}

function resolutionOf({ digest, mediaType, sizeBytes }: ResolvedManifest, stale: boolean): Resolution {
  return { digest, mediaType, sizeBytes, stale };
}

function keyOf({ registry, name }: Repository, tag: string): string {
  return `${PREFIX}${registry}/${name}:${tag}`;
}

function decode(note: string | undefined): Answer[] {
  if (note === undefined) return [];
  let value: unknown;
  try {
    value = JSON.parse(note);
  } catch {
    return [];
  }
  const parsed = answersSchema.safeParse(value);
  if (!parsed.success) return [];
  return parsed.data.flatMap((answer) => {
    const digest = parseDigest(answer.digest);
    return digest === undefined ? [] : [{ ...answer, digest }];
  });
}
