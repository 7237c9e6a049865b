/**
 * What tags and digests are, asked of the origin once for the whole cluster. Two memories:
 *
 * - `SharedQuestion`, one per reference, Accept and scope, in memory alone: who asks now, and the answer while it is
 *   fresh. A restart forgets it, which costs each reference in use one lookup.
 * - `State`, on disk: what each reference was last, for the time when its origin cannot be asked.
 *
 * A scope is part of every key of both, so an answer that was given to one credential is never given to another one.
 * The agent that was told to ask is believed, in both, and nobody else; what it said is forgotten when it is barred, or suspected. An
 * agent that shall trust no other about tags is started with `--tag-fresh 0`.
 */
import {
  MAX_REFERENCE_AGE_MS,
  type ReferenceLookup,
  type ReferenceQuery,
  type ReferenceRecord,
  type ReferenceReport,
  type ReferenceTurn,
} from '@shoal/wire';
import { LRUCache } from 'lru-cache';
import type { State } from '../state/state.ts';
import { SharedQuestion } from './shared-question.ts';

/** A registry far away, with a token to be fetched first, answers within this. */
const DEFAULT_TURN_MS = 1_500;
/** Long enough for those who ask at the same moment, short enough for who pushes and pulls. */
const DEFAULT_REFUSED_MS = 3_000;
const DEFAULT_OPEN_MS = 2_000;
const DEFAULT_MAX_QUESTIONS = 20_000;

export interface ReferencesOptions {
  /** After this the next agent is told to ask. @default 1500 */
  turnMs?: number;
  /** How long a no of the origin is passed on. @default 3000 */
  refusedMs?: number;
  /** How long agents are not made to wait for each other after that did not help. @default 2000 */
  openMs?: number;
  /** The least recently asked are forgotten first. @default 20000 */
  maxQuestions?: number;
}

export interface ReferencesDependencies {
  state: Pick<State, 'recordReference' | 'findReference' | 'forgetReferencesBy'>;
  /** Milliseconds since the epoch. */
  clock: () => number;
}

type Subject = ReferenceQuery & { accept: string };

export class References {
  readonly #options: { turnMs: number; refusedMs: number; openMs: number };
  readonly #dependencies: ReferencesDependencies;
  readonly #questions: LRUCache<string, SharedQuestion>;

  constructor(options: ReferencesOptions, dependencies: ReferencesDependencies) {
    const { turnMs = DEFAULT_TURN_MS, refusedMs = DEFAULT_REFUSED_MS, openMs = DEFAULT_OPEN_MS } = options;
    this.#options = { turnMs, refusedMs, openMs };
    this.#dependencies = dependencies;
    this.#questions = new LRUCache({
      max: options.maxQuestions ?? DEFAULT_MAX_QUESTIONS,
      dispose: (question) => question.close(),
    });
  }

  /** References remembered as they are now. */
  get size(): number {
    return this.#questions.size;
  }

  ask(agent: string, lookup: ReferenceLookup): ReferenceTurn | Promise<ReferenceTurn> {
    return this.#question(lookup).ask(agent, lookup);
  }

  report(agent: string, report: ReferenceReport): void {
    if (report.said === 'found') this.#found(agent, report);
    else if (report.said === 'refused') this.#questions.get(keyOf(report))?.refused(agent, report.code);
    else this.#questions.get(keyOf(report))?.unanswered(agent, report.said);
  }

  find(query: ReferenceQuery): ReferenceRecord | undefined {
    return this.#dependencies.state.findReference(query);
  }

  /** The member is barred or suspected: what it said is forgotten, and what it was to ask goes to somebody else. */
  distrust(agent: string): void {
    this.#dependencies.state.forgetReferencesBy(agent);
    for (const question of this.#questions.values()) question.distrust(agent);
  }

  /** Forgets what nobody asked for lately. */
  expire(nowMs: number): void {
    for (;;) {
      const [oldest] = this.#questions.rkeys();
      const question = oldest === undefined ? undefined : this.#questions.peek(oldest);
      if (oldest === undefined || question === undefined) return;
      if (nowMs - question.usedAtMs < MAX_REFERENCE_AGE_MS) return;
      this.#questions.delete(oldest);
    }
  }

  /** Ends all waiting. */
  close(): void {
    this.#questions.clear();
  }

  #found(agent: string, { said: _, accept, ...record }: Extract<ReferenceReport, { said: 'found' }>): void {
    const { digest, mediaType, sizeBytes } = record;
    const question = this.#questions.get(keyOf({ ...record, accept }));
    const found = question?.heard(agent, { digest, mediaType, sizeBytes });
    if (found === undefined) return;
    const byDigest = { ...record, reference: digest };
    this.#dependencies.state.recordReference(record, agent);
    this.#dependencies.state.recordReference(byDigest, agent);
    // Clients that were told what the tag is ask for the digest next, perhaps at other nodes.
    if (record.reference !== digest) this.#question({ ...byDigest, accept }).learn(found);
  }

  #question(subject: Subject): SharedQuestion {
    const key = keyOf(subject);
    const known = this.#questions.get(key);
    const question = known ?? new SharedQuestion(this.#options, this.#dependencies.clock);
    question.usedAtMs = this.#dependencies.clock();
    if (known === undefined) this.#questions.set(key, question);
    return question;
  }
}

/** JSON keeps the parts apart whatever they hold. */
function keyOf({ registry, repository, reference, scope, accept }: Subject): string {
  return JSON.stringify([registry, repository, reference, scope, accept]);
}
