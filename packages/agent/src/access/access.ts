/**
 * Access: may this client have this digest under this repository's name? Two questions, both for the origin:
 *
 * 1. May the client read the repository (`admission.ts`)?
 * 2. Does the repository hold the digest? The store keeps content by registry, and a digest may have come from any of its
 *    repositories. The origin has said yes when a manifest of the repository named the digest, or when it was asked about the
 *    digest itself, by this agent or by a member that asks with the same rights (`asking-scope.ts`). Each yes is recorded,
 *    survives a restart, and carries the size when that is known. A temporary failure of the origin is no yes; for a
 *    manifest, what the origin last told such a member counts then.
 *
 * What this protects: content pulled into one repository is not readable through another repository's name, as far as its
 * registry takes no manifest that names what the repository lacks, and nobody reads here what the origin would not let them
 * read. A registry's manifest is believed about that registry alone: what it names is
 * looked for among the blobs of the same registry (`BlobId`), here and at peers.
 *
 * Called by `mirror` before every answer. It never reads content.
 */
import type { Descriptor, Digest } from '@shoal/oci';
import type { Logger } from 'pino';
import { type Asker, askerKey, type ClientAuthorization } from '../origin/asker.ts';
import { type OriginCall, type OriginClient, OriginError, type Repository } from '../origin/origin-client.ts';
import type { BlobStore } from '../store/blob-store.ts';
import type { Admissions, Question, Said } from './admission.ts';
import type { ClusterLookups } from './cluster-lookups.ts';
import { withinDeadline } from './deadline.ts';
import { type Readable, ReadableIndex } from './readable-index.ts';
import { SharedLookups } from './shared-lookups.ts';

/** The origin must say within this time whether it has a blob. */
const DEFAULT_LOOKUP_DEADLINE_MS = 4_000;

export interface ReadRequest {
  repository: Repository;
  digest: Digest;
  kind: 'blob' | 'manifest';
  /** What the client sent in Authorization. */
  client?: ClientAuthorization | undefined;
  /** Sent upstream when a manifest has to be asked for. */
  accept?: string;
}

export type ReadVerdict =
  /** `asker`: in whose name the content is read, should it have to come from the origin. */
  | { allowed: true; sizeBytes: number | undefined; mediaType: string | undefined; asker: Asker }
  /** `error` is what the origin answered, or why it could not be asked. */
  | { allowed: false; error: OriginError };

export interface Access {
  /** @throws only the reason of `call.signal` */
  mayRead(request: ReadRequest, call: OriginCall): Promise<ReadVerdict>;
  /** In whose name the origin is asked for what is never kept here, so that its answer is all the leave there is. */
  askerFor(repository: Repository, client: ClientAuthorization | undefined): Asker;
  /** The origin refused what this asker had been allowed to read: it must be asked again. */
  refused(repository: Repository, asker: Asker): void;
  /**
   * The origin gave this manifest under this repository: it and its children are readable there from now on. Foreign
   * layers are not, because no registry checks that it holds them. Never throws: what cannot be kept is asked again.
   */
  record(
    repository: Repository,
    manifest: { digest: Digest; sizeBytes: number; mediaType?: string },
    children: readonly Descriptor[],
  ): Promise<void>;
}

export interface RepositoryAccessOptions {
  /** @default 4 s */
  lookupDeadlineMs?: number;
}

export interface RepositoryAccessDependencies {
  admissions: Admissions;
  origin: Pick<OriginClient, 'stat'>;
  lookups: Pick<ClusterLookups, 'resolve' | 'lastTold'>;
  notes: BlobStore['notes'];
  logger: Logger;
  /** Milliseconds since the epoch. */
  now: () => number;
}

export class RepositoryAccess implements Access {
  readonly #lookupDeadlineMs: number;
  readonly #dependencies: RepositoryAccessDependencies;
  readonly #index: ReadableIndex;
  readonly #lookups = new SharedLookups<Said<Readable>>();

  constructor(options: RepositoryAccessOptions, dependencies: RepositoryAccessDependencies) {
    this.#lookupDeadlineMs = options.lookupDeadlineMs ?? DEFAULT_LOOKUP_DEADLINE_MS;
    this.#dependencies = dependencies;
    this.#index = new ReadableIndex(dependencies);
  }

  async mayRead(request: ReadRequest, call: OriginCall): Promise<ReadVerdict> {
    const { repository, client } = request;
    const { registry, name } = repository;
    const question: Question<Readable> = {
      recall: () => this.#recorded(request),
      ask: (asker) => {
        const key = [registry, name, request.digest, request.kind, askerKey(asker)].join(' ');
        return this.#lookups.run(key, call.signal, (signal) => this.#ask(request, { ...call, signal, asker }));
      },
      ...(request.kind === 'manifest' && {
        fallBack: ({ asker }: { asker: Asker }, error: OriginError) => this.#lastTold(request, asker, error),
      }),
    };
    try {
      const { answer, asker } = await this.#dependencies.admissions.put(repository, client, question);
      const { sizeBytes, mediaType } = answer;
      return { allowed: true, sizeBytes, mediaType, asker };
    } catch (error) {
      call.signal.throwIfAborted();
      return { allowed: false, error: asOriginError(error) };
    }
  }

  askerFor(repository: Repository, client: ClientAuthorization | undefined): Asker {
    return this.#dependencies.admissions.askerFor(repository, client);
  }

  refused(repository: Repository, asker: Asker): void {
    this.#dependencies.admissions.refused(repository, asker);
  }

  async record(
    repository: Repository,
    manifest: { digest: Digest; sizeBytes: number; mediaType?: string },
    children: readonly Descriptor[],
  ): Promise<void> {
    await this.#remember(repository, manifest.digest, [
      manifest,
      ...children.filter((child) => !child.foreign).map(readableChild),
    ]);
  }

  /** Forgets what has expired. Meant to be called once, at the agent's start. */
  async prune(): Promise<void> {
    await this.#index.prune();
  }

  /** @throws OriginError */
  async #ask(request: ReadRequest, call: OriginCall): Promise<Said<Readable>> {
    const said = await (request.kind === 'blob' ? this.#askBlob(request, call) : this.#askManifest(request, call));
    await this.#remember(request.repository, request.digest, [said.answer]);
    return said;
  }

  async #askBlob({ repository, digest }: ReadRequest, call: OriginCall): Promise<Said<Readable>> {
    const { sizeBytes } = await withinDeadline(this.#lookupDeadlineMs, call.signal, (signal) =>
      this.#dependencies.origin.stat(repository, digest, { ...call, signal }),
    );
    return { answer: { digest, sizeBytes }, atMs: this.#dependencies.now() };
  }

  async #askManifest({ repository, digest, accept = '' }: ReadRequest, call: OriginCall): Promise<Said<Readable>> {
    const found = await this.#dependencies.lookups.resolve({ repository, reference: digest, accept }, call);
    const { mediaType, sizeBytes, resolvedAtMs } = found;
    return { answer: { digest, sizeBytes, mediaType }, atMs: resolvedAtMs };
  }

  async #lastTold({ repository, digest }: ReadRequest, asker: Asker, error: OriginError): Promise<Said<Readable>> {
    const told = await this.#dependencies.lookups.lastTold(repository, digest, asker);
    if (told === undefined || told.digest !== digest) throw error;
    const found = { digest, sizeBytes: told.sizeBytes, mediaType: told.mediaType };
    await this.#remember(repository, digest, [found]);
    return { answer: found, atMs: told.resolvedAtMs };
  }

  async #recorded({ repository, digest }: ReadRequest): Promise<Readable | undefined> {
    try {
      return await this.#index.find(repository, digest);
    } catch (err) {
      this.#dependencies.logger.warn({ err, digest }, 'cannot read what was recorded as readable');
      return undefined;
    }
  }

  async #remember(repository: Repository, owner: Digest, readable: readonly Readable[]): Promise<void> {
    try {
      await this.#index.record(repository, owner, readable);
    } catch (err) {
      this.#dependencies.logger.warn({ err, digest: owner }, 'cannot record what is readable');
    }
  }
}

function readableChild({ digest, sizeBytes, mediaType, kind }: Descriptor): Readable {
  return { digest, sizeBytes, ...(kind === 'manifest' && mediaType !== '' ? { mediaType } : {}) };
}

function asOriginError(error: unknown): OriginError {
  if (error instanceof OriginError) return error;
  return new OriginError('invalid', 'the origin could not be asked', { cause: error });
}
