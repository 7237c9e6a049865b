/**
 * Admission: who may read a repository.
 *
 *   the node's credentials are open to all its clients ──► everybody, in the node's name
 *   the registry lately served it to nobody in particular ──► everybody: the repository is public
 *   it lately accepted this client's own credential for it ──► this client, in its own name
 *   it lately refused ──► nobody, at once
 *   otherwise ──► the client's question itself is put to the registry, in the client's name or anonymously; what it
 *                 answers decides, and counts for a while
 *
 * While a registry cannot be asked, those whom it accepted before are still admitted for a longer while, and a repository is
 * public of which it lately told another member so.
 *
 * Nothing is decided here by what this agent holds, so neither an answer nor its timing tells that. Decisions are kept per
 * (registry, repository, credential), a credential by a hash whose key is this process's own, in memory; only that a
 * repository is public survives a restart.
 */
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { DEFAULT_GRANT_MS, DEFAULT_OUTAGE_MS } from '../config/defaults.ts';
import { type Asker, askerKey, type ClientAuthorization } from '../origin/asker.ts';
import { OriginError, type Repository } from '../origin/origin-client.ts';
import type { BlobStore } from '../store/blob-store.ts';

/** Long enough for the burst of one pull, short enough not to be noticed by whoever is given rights meanwhile. */
const DENIED_FOR_MS = 10_000;
/** How long it counts that a repository was public, while the registry cannot be asked. */
const PUBLIC_OUTAGE_MS: number = 7 * 24 * 60 * 60_000;
/** A registry that could not be asked is not waited for again at once by those who can do without. */
const DOWN_FOR_MS = 5_000;
const NOTE_AGAIN_AFTER_MS: number = 60 * 60_000;
const PREFIX = 'public/';
const MAX_REGISTRIES = 256;
const MAX_GRANTS = 16_384;
const MAX_DENIALS = 4_096;

export interface AdmissionsOptions {
  /** Registries whose configured credentials every client of this node may use. @default none */
  openRegistries?: ReadonlySet<string>;
  /** How long the registry's yes to a credential counts. @default 5 min */
  grantMs?: number;
  /** How long it counts while the registry cannot be asked; 0: not longer than otherwise. @default 12 h */
  outageMs?: number;
}

export interface AdmissionsDependencies {
  notes: BlobStore['notes'];
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
}

/** What a registry said, to this agent or another member, and when. */
export interface Said<T> {
  answer: T;
  atMs: number;
}

/** What a client wants to know about a repository. */
export interface Question<T> {
  /** What can be told to everybody who may read the repository without asking the registry. */
  recall: () => Promise<T | undefined>;
  /** @throws OriginError */
  ask: (asker: Asker) => Promise<Said<T>>;
  /** What those with the asker's rights were told before; this agent, too, if the client is admitted. @throws `error` when there is nothing */
  fallBack?: (to: { asker: Asker; isAdmitted: boolean }, error: OriginError) => Promise<Said<T>>;
}

export interface Admitted<T> {
  answer: T;
  /** In whose name the content is read. */
  asker: Asker;
}

/** In whose name questions are asked, and content is read. */
interface Standing {
  ask: Asker;
  read: Asker;
}

const OPEN: Standing = { ask: 'node', read: 'node' };
/** What is asked anonymously is shared with all members; what is read counts for the node, where it has a login. */
const PUBLIC: Standing = { ask: 'anonymous', read: 'node' };

export class Admissions {
  readonly #openRegistries: ReadonlySet<string>;
  readonly #grantMs: number;
  readonly #outageMs: number;
  readonly #dependencies: AdmissionsDependencies;
  /** When the registry last said yes. */
  readonly #grants = new LRUCache<string, number>({ max: MAX_GRANTS });
  /** When it was last written down that a repository is public. */
  readonly #noted = new LRUCache<string, number>({ max: MAX_GRANTS });
  /** When a registry last could not be asked. */
  readonly #down = new LRUCache<string, number>({ max: MAX_REGISTRIES });
  readonly #denials = new LRUCache<string, { atMs: number; error: OriginError }>({ max: MAX_DENIALS });

  constructor(options: AdmissionsOptions, dependencies: AdmissionsDependencies) {
    this.#openRegistries = options.openRegistries ?? new Set();
    this.#grantMs = options.grantMs ?? DEFAULT_GRANT_MS;
    this.#outageMs = options.outageMs ?? DEFAULT_OUTAGE_MS;
    this.#dependencies = dependencies;
  }

  /** @throws OriginError: `unauthorized` with the registry's challenge, or why it could not be asked */
  async put<T>(
    repository: Repository,
    client: ClientAuthorization | undefined,
    question: Question<T>,
  ): Promise<Admitted<T>> {
    const standing = this.#admitted(repository, client);
    if (standing !== undefined) return await this.#answer(repository, client, standing, question);
    const denied = this.#denied(repository, client);
    if (denied !== undefined) throw denied;
    const before = await this.#admittedBefore(repository, client);
    const known = before !== undefined && this.#isDown(repository) ? await question.recall() : undefined;
    if (before !== undefined && known !== undefined) return { answer: known, asker: before.read };
    try {
      const { answer, atMs } = await question.ask(client ?? 'anonymous');
      await this.#accept(repository, client, atMs);
      return { answer, asker: client ?? 'node' };
    } catch (error) {
      if (!(error instanceof OriginError)) throw error;
      return await this.#refusedOrDown(repository, client, before, question, error);
    }
  }

  /** As whom the client's own question goes to the registry; whether it may read is not asked. */
  askerFor({ registry }: Repository, client: ClientAuthorization | undefined): Asker {
    return this.#openRegistries.has(registry) ? 'node' : (client ?? 'anonymous');
  }

  /** The registry refused this client what it had been admitted to: its next question is put to the registry. */
  refused(repository: Repository, asker: Asker): void {
    if (this.#openRegistries.has(repository.registry)) return;
    this.#grants.delete(keyOf(repository, typeof asker === 'string' ? undefined : asker));
  }

  /** Forgets what is too old to count. Meant to be called once, at the agent's start. */
  async prune(): Promise<void> {
    const { notes, now } = this.#dependencies;
    for await (const [key, value] of notes.entries(PREFIX)) {
      if (!(Number(value) > now() - PUBLIC_OUTAGE_MS)) await notes.delete(key);
    }
  }

  async #refusedOrDown<T>(
    repository: Repository,
    client: ClientAuthorization | undefined,
    before: Standing | undefined,
    question: Question<T>,
    error: OriginError,
  ): Promise<Admitted<T>> {
    if (error.code === 'unauthorized') this.#deny(repository, client, error);
    // So do registries say it that tell nobody of what is private.
    if (error.code === 'not-found' && client !== undefined) this.#grants.delete(keyOf(repository, client));
    // A client could bring a limit upon itself to keep the rights that it has lost.
    const isTooMany = error.code === 'rate-limited' && before !== undefined && before !== PUBLIC;
    if (!error.temporary || isTooMany) throw error;
    if (error.code === 'unreachable') this.#down.set(repository.registry, this.#dependencies.now());
    // Whoever comes without credentials is told of the login that there was, and may come back with some that were accepted.
    const denial = this.#denials.get(keyOf(repository, client));
    if (before === undefined && denial !== undefined) throw denial.error;
    const { answer, atMs } = await this.#withoutRegistry(question, before, error);
    if (before !== undefined) return { answer, asker: before.read };
    // Another member was told what nobody in particular may know.
    const nowMs = this.#dependencies.now();
    if (atMs <= nowMs - PUBLIC_OUTAGE_MS) throw error;
    this.#grants.set(keyOf(repository, undefined), Math.min(atMs, nowMs - this.#grantMs));
    return { answer, asker: PUBLIC.read };
  }

  async #answer<T>(
    repository: Repository,
    client: ClientAuthorization | undefined,
    standing: Standing,
    question: Question<T>,
  ): Promise<Admitted<T>> {
    const { ask, read: asker } = standing;
    const known = await question.recall();
    if (known !== undefined) return { answer: known, asker };
    try {
      return { answer: (await question.ask(ask)).answer, asker };
    } catch (error) {
      if (!(error instanceof OriginError)) throw error;
      if (error.temporary) return await this.#otherwise(client, standing, question, error);
      if (error.code !== 'unauthorized' || standing === OPEN) throw error;
      this.#deny(repository, standing === PUBLIC ? undefined : client, error);
      if (standing !== PUBLIC || client === undefined) throw error;
      return await this.put(repository, client, question);
    }
  }

  /** The registry may well answer a client that it knows when it has had enough of strangers. */
  async #otherwise<T>(
    client: ClientAuthorization | undefined,
    standing: Standing,
    question: Question<T>,
    error: OriginError,
  ): Promise<Admitted<T>> {
    if (standing === PUBLIC && client !== undefined && error.code === 'rate-limited') {
      const own = await question.ask(client).catch(() => undefined);
      if (own !== undefined) return { answer: own.answer, asker: client };
    }
    return { answer: (await this.#withoutRegistry(question, standing, error)).answer, asker: standing.read };
  }

  async #withoutRegistry<T>(
    question: Question<T>,
    standing: Standing | undefined,
    error: OriginError,
  ): Promise<Said<T>> {
    const { recall, fallBack } = question;
    const known = standing === undefined ? undefined : await recall();
    if (known !== undefined) return { answer: known, atMs: this.#dependencies.now() };
    if (fallBack === undefined) throw error;
    return await fallBack({ asker: standing?.ask ?? 'anonymous', isAdmitted: standing !== undefined }, error);
  }

  /** In whose name, if the registry lately said yes. */
  #admitted(repository: Repository, client: ClientAuthorization | undefined): Standing | undefined {
    if (this.#openRegistries.has(repository.registry)) return OPEN;
    if (this.#isGranted(keyOf(repository, undefined), this.#grantMs)) return PUBLIC;
    return client !== undefined && this.#isGranted(keyOf(repository, client), this.#grantMs)
      ? { ask: client, read: client }
      : undefined;
  }

  /** In whose name, if the registry said yes not so long ago that it does not even count while it cannot be asked. */
  async #admittedBefore(
    repository: Repository,
    client: ClientAuthorization | undefined,
  ): Promise<Standing | undefined> {
    const key = keyOf(repository, undefined);
    if (!this.#grants.has(key) && !this.#denials.has(key)) {
      const noted = Number(await this.#dependencies.notes.get(PREFIX + key).catch(() => undefined));
      if (noted > 0) this.#grants.set(key, Math.min(noted, this.#dependencies.now() - this.#grantMs));
    }
    if (this.#isGranted(key, PUBLIC_OUTAGE_MS)) return PUBLIC;
    return client !== undefined && this.#isGranted(keyOf(repository, client), this.#outageMs)
      ? { ask: client, read: client }
      : undefined;
  }

  #isGranted(key: string, withinMs: number): boolean {
    return (this.#grants.get(key) ?? Number.NEGATIVE_INFINITY) > this.#dependencies.now() - withinMs;
  }

  #isDown({ registry }: Repository): boolean {
    return this.#dependencies.now() < (this.#down.get(registry) ?? Number.NEGATIVE_INFINITY) + DOWN_FOR_MS;
  }

  async #accept(repository: Repository, client: ClientAuthorization | undefined, atMs: number): Promise<void> {
    const { notes, logger, now } = this.#dependencies;
    const key = keyOf(repository, client);
    const nowMs = now();
    this.#down.delete(repository.registry);
    this.#denials.delete(key);
    this.#grants.set(key, Math.min(atMs, nowMs));
    if (client !== undefined || nowMs < (this.#noted.get(key) ?? Number.NEGATIVE_INFINITY) + NOTE_AGAIN_AFTER_MS)
      return;
    this.#noted.set(key, nowMs);
    await notes.put(PREFIX + key, String(Math.min(atMs, nowMs))).catch((err: unknown) => {
      this.#noted.delete(key);
      logger.warn({ err, repository }, 'cannot note that a repository is public');
    });
  }

  #denied(repository: Repository, client: ClientAuthorization | undefined): OriginError | undefined {
    const denial = this.#denials.get(keyOf(repository, client));
    return denial !== undefined && this.#dependencies.now() < denial.atMs + DENIED_FOR_MS ? denial.error : undefined;
  }

  #deny(repository: Repository, client: ClientAuthorization | undefined, error: OriginError): void {
    const key = keyOf(repository, client);
    this.#grants.delete(key);
    this.#denials.set(key, { atMs: this.#dependencies.now(), error });
    if (client !== undefined) return;
    this.#noted.delete(key);
    const { notes, logger } = this.#dependencies;
    notes.delete(PREFIX + key).catch((err: unknown) => {
      logger.warn({ err, repository }, 'cannot forget that a repository was public');
    });
  }
}

/** No host or repository name contains a space. */
function keyOf({ registry, name }: Repository, client: ClientAuthorization | undefined): string {
  return `${registry} ${name} ${client === undefined ? '' : askerKey(client)}`;
}
