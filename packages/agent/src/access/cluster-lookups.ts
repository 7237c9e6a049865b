/**
 * What a tag or a manifest's digest is now, asked of the origin once for the whole cluster.
 *
 *   1. ask the tracker            ─► told: an answer that is fresh enough, or the one that another member is just getting
 *      │                          ─► refused: the origin just said no to a member with the same rights
 *      │                          ─► wait: come back, for `shareWithinMs` at most
 *      ▼ our turn; no tracker; waited long enough; an answer that does not fit
 *   2. ask the origin, within `lookupDeadlineMs`
 *      ▼
 *   3. if it was our turn: report what it said, or that it did not, so that others need not ask or get their turn at once
 *
 * So the worst case is one wait longer than asking directly, and nothing depends on the tracker. Members share only with
 * those of the same scope (`asking-scope.ts`). With a freshness of 0 the first step is left out, and no other member is
 * believed, neither now nor while the origin cannot be asked.
 */
import { acceptCovers, MANIFEST_ACCEPT, parseDigest } from '@shoal/oci';
import { MAX_REFERENCE_WAIT_MS, type ReferenceRecord, type ReferenceReport, type ReferenceTurn } from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { Asker } from '../origin/asker.ts';
import {
  type OriginCall,
  type OriginClient,
  OriginError,
  type Repository,
  type ResolvedManifest,
} from '../origin/origin-client.ts';
import { within } from '../tracing/span.ts';
import type { TrackerClient } from '../tracker-client/tracker-client.ts';
import { unlessAborted } from '../unless-aborted.ts';
import { acceptClass } from './accept-class.ts';
import type { AskingScopes } from './asking-scope.ts';
import { withinDeadline } from './deadline.ts';
import type { TagPolicies } from './tag-policy.ts';

const DEFAULT_LOOKUP_DEADLINE_MS = 4_000;
/** One whole turn of another member and most of its successor's. */
const DEFAULT_SHARE_WITHIN_MS = 2_500;
/** That a repository holds a digest does not change like a tag does. */
const DIGEST_FRESH_MS: number = 2 * 60_000;
const MAX_DISTRUSTED = 1_024;

export interface ClusterLookupsOptions {
  /** How old an answer of another member about a tag may be. @default the origin is always asked */
  tags?: TagPolicies;
  /** The origin must answer within this time. @default 4 s */
  lookupDeadlineMs?: number;
  /** The cluster must answer within this time. @default 2.5 s */
  shareWithinMs?: number;
}

export interface ClusterLookupsDependencies {
  origin: Pick<OriginClient, 'resolve'>;
  tracker: Pick<TrackerClient, 'lookUpReference' | 'reportReference' | 'findReference'>;
  scopes: Pick<AskingScopes, 'of'>;
  /** Milliseconds since the epoch. */
  now: () => number;
}

export interface Question {
  repository: Repository;
  /** A tag or digest. */
  reference: string;
  /** As the client sent it; empty when it sent none. */
  accept: string;
}

type Subjected = Pick<Question, 'repository' | 'reference'>;

export interface Answer extends ResolvedManifest {
  /** When the origin said so, to this agent or to another. */
  resolvedAtMs: number;
}

type Subject = Pick<ReferenceReport, 'registry' | 'repository' | 'reference' | 'scope' | 'accept'>;

export class ClusterLookups {
  readonly #tags: TagPolicies;
  readonly #lookupDeadlineMs: number;
  readonly #shareWithinMs: number;
  readonly #dependencies: ClusterLookupsDependencies;
  /** Since when. */
  readonly #distrusted = new LRUCache<string, number>({ max: MAX_DISTRUSTED });

  constructor(options: ClusterLookupsOptions, dependencies: ClusterLookupsDependencies) {
    this.#tags = options.tags ?? (() => ({ freshMs: 0, maxStaleMs: 0 }));
    this.#lookupDeadlineMs = options.lookupDeadlineMs ?? DEFAULT_LOOKUP_DEADLINE_MS;
    this.#shareWithinMs = options.shareWithinMs ?? DEFAULT_SHARE_WITHIN_MS;
    this.#dependencies = dependencies;
  }

  /** @throws OriginError (of this agent's own question or of another's), or the reason of `call.signal` */
  async resolve(question: Question, call: OriginCall): Promise<Answer> {
    const { registry, name } = question.repository;
    const scope = await this.#dependencies.scopes.of(registry, call.asker ?? 'node');
    if (scope === undefined) return await this.#askOrigin(question, call);
    const accept = acceptClass(question.accept);
    const subject = { registry, repository: name, reference: question.reference, scope, accept };
    const { freshMs } = this.#tags(registry);
    const oldestMs = this.#distrusted.get(keyOf(question)) ?? Number.NEGATIVE_INFINITY;
    const turn =
      freshMs === 0
        ? undefined
        : await within(call.span, { name: 'tracker reference', kind: 'client' }, async (span) => {
            const said = await this.#askCluster(subject, freshMs, oldestMs, call.signal);
            span?.set({ 'shoal.turn': said?.turn ?? 'none' });
            return said;
          });
    // The registry's challenge must come from the registry: a member could send the client's password anywhere with another.
    if (turn?.turn === 'refused' && turn.code !== 'unauthorized') throw refusal(registry, turn.code);
    if (turn?.turn === 'told' && fits(question, turn)) {
      const { digest, mediaType, sizeBytes, ageMs } = turn;
      return { digest, mediaType, sizeBytes, resolvedAtMs: this.#dependencies.now() - ageMs };
    }
    return await this.#askAndReport(question, subject, turn?.turn === 'ask', call);
  }

  /** What the origin said about this before now does not count any more. */
  distrust(question: Subjected): void {
    this.#distrusted.set(keyOf(question), this.#dependencies.now());
  }

  isDistrusted(question: Subjected, resolvedAtMs: number): boolean {
    return resolvedAtMs < (this.#distrusted.get(keyOf(question)) ?? Number.NEGATIVE_INFINITY);
  }

  /** What a member with the same rights was last told. To be used only when the origin cannot be asked. */
  async lastTold(
    { registry, name }: Repository,
    reference: string,
    asker: Asker,
  ): Promise<ReferenceRecord | undefined> {
    const { scopes, tracker } = this.#dependencies;
    if (this.#tags(registry).freshMs === 0) return undefined;
    const scope = await scopes.of(registry, asker);
    if (scope === undefined) return undefined;
    return await tracker.findReference({ registry, repository: name, reference, scope });
  }

  /** Undefined: neither told nor refused, and not asked to ask. @throws the reason of `signal` */
  async #askCluster(
    subject: Subject,
    tagFreshMs: number,
    oldestMs: number,
    signal: AbortSignal,
  ): Promise<ReferenceTurn | undefined> {
    const { tracker, now } = this.#dependencies;
    const untilMs = now() + this.#shareWithinMs;
    const freshMs = parseDigest(subject.reference) === undefined ? tagFreshMs : DIGEST_FRESH_MS;
    for (;;) {
      const waitMs = Math.min(MAX_REFERENCE_WAIT_MS, untilMs - now());
      if (waitMs <= 0) return undefined;
      const maxAgeMs = Math.max(0, Math.min(freshMs, now() - oldestMs));
      const asked = tracker.lookUpReference({ ...subject, maxAgeMs, waitMs });
      const onLate = (late: ReferenceTurn | undefined) => {
        if (late?.turn === 'ask') tracker.reportReference({ ...subject, said: 'left' });
      };
      const turn = await unlessAborted(asked, signal, { onLate });
      if (turn?.turn !== 'wait') return turn;
      await unlessAborted(pause(turn.retryAfterMs), signal);
    }
  }

  async #askAndReport(question: Question, subject: Subject, isAwaited: boolean, call: OriginCall): Promise<Answer> {
    const { tracker } = this.#dependencies;
    try {
      const answer = await this.#askOrigin(question, call);
      if (isAwaited) {
        const { digest, mediaType, sizeBytes, resolvedAtMs } = answer;
        tracker.reportReference({ ...subject, said: 'found', digest, mediaType, sizeBytes, resolvedAtMs });
      }
      return answer;
    } catch (error) {
      if (isAwaited) tracker.reportReference({ ...subject, ...failureOf(error, call.signal) });
      throw error;
    }
  }

  async #askOrigin({ repository, reference, accept }: Question, call: OriginCall): Promise<Answer> {
    const { origin, now } = this.#dependencies;
    const found = await withinDeadline(this.#lookupDeadlineMs, call.signal, (signal) =>
      origin.resolve(repository, reference, accept === '' ? MANIFEST_ACCEPT : accept, { ...call, signal }),
    );
    if ((parseDigest(reference) ?? found.digest) !== found.digest) {
      throw new OriginError('invalid', `${repository.registry} answered another digest`);
    }
    return { ...found, resolvedAtMs: now() };
  }
}

function keyOf({ repository: { registry, name }, reference }: Subjected): string {
  return `${registry}/${name} ${reference}`;
}

/** Whether what another member was told can be passed on to this client. */
function fits({ reference, accept }: Question, { digest, mediaType }: ResolvedManifest): boolean {
  return (parseDigest(reference) ?? digest) === digest && acceptCovers(accept, mediaType);
}

function refusal(registry: string, code: 'not-found' | 'refused'): OriginError {
  return new OriginError(code, `${registry} just said no to another member that asked in the same way`);
}

function failureOf(
  error: unknown,
  signal: AbortSignal,
): Pick<Exclude<ReferenceReport, { said: 'found' | 'refused' }>, 'said'> | { said: 'refused'; code: RefusalCode } {
  if (signal.aborted) return { said: 'left' };
  const code = error instanceof OriginError ? error.code : undefined;
  return code === 'unauthorized' || code === 'not-found' || code === 'refused'
    ? { said: 'refused', code }
    : { said: 'failed' };
}

type RefusalCode = Extract<ReferenceReport, { said: 'refused' }>['code'];

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
