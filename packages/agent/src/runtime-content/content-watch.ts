/**
 * Follows what containerd keeps, and tells the shelf. Round by round, for as long as the agent runs:
 *
 *   1. connect, ask where the content store is, and begin to listen for changes of images and content
 *   2. list the content of all namespaces: which registry gave it is told by their labels (`provenance.ts`)
 *   3. list again after every change, and every five minutes without one
 *   4. the connection ended, or an answer did not come: what was listed stays; from the beginning, after a pause
 *
 * The folder is watched beside that: containerd's garbage collection removes files without an event. A file that is gone is
 * withdrawn at that moment.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BlobId, type Digest, parseDigest } from '@shoal/oci';
import type { Logger } from 'pino';
import type { BlobRecord } from '../store/blob-store.ts';
import { ContainerdApi, ContainerdError } from './containerd-api.ts';
import type { ContentShelf } from './content-shelf.ts';
import { FolderWatch } from './folder-watch.ts';
import { type Labelled, Provenance, registriesOf } from './provenance.ts';

const RESCAN_MS: number = 5 * 60_000;
/** Changes come in bursts, and a file comes before its label. */
const SETTLE_MS = 300;
/** Of a store that changes all the time a listing that takes long is made less often. */
const LIST_SHARE = 10;
const MIN_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/** More are not shared. */
const MAX_BLOBS = 100_000;
/** https://github.com/containerd/containerd/blob/main/docs/ops.md#base-configuration */
const CONTENT_FOLDER = 'io.containerd.content.v1.content';

export interface ContentWatchOptions {
  /** The path of containerd's socket. */
  socket: string;
  /** Its root folder, where this agent sees it at another place than containerd does. */
  root?: string | undefined;
  /** Of which content is shared. None: all. */
  namespaces: readonly string[];
  /** @default 5 min */
  rescanMs?: number;
}

export interface ContentWatchDependencies {
  shelf: Pick<ContentShelf, 'replace' | 'gone'>;
  /** The name under which this agent shares what a registry has. */
  idOf: (registry: string, digest: Digest) => BlobId;
  logger: Logger;
  /** Milliseconds since 1970. */
  clock: () => number;
}

/** `unreachable`: containerd does not answer. `unreadable`: it does, and its files cannot be read. */
export type ContentState = 'connecting' | 'listed' | 'unreachable' | 'unreadable';

export interface ContentStanding {
  socket: string;
  state: ContentState;
  /** Of the content store, once known. */
  folder?: string;
  /** Why, when it is `unreachable` or `unreadable`. */
  problem?: string;
}

interface Content extends Labelled {
  sizeBytes: number;
  registries: Set<string>;
  /** In a namespace that is shared. */
  isShared: boolean;
}

export class ContentWatch {
  readonly #options: ContentWatchOptions;
  readonly #dependencies: ContentWatchDependencies;
  readonly #provenance = new Provenance();
  readonly #closing = new AbortController();
  #standing: ContentStanding;
  #running: Promise<void> | undefined;
  readonly #folder: FolderWatch;
  /** Set while a listing is due: calling it begins that at once. */
  #wake: (() => void) | undefined;
  #isChanged = false;

  constructor(options: ContentWatchOptions, dependencies: ContentWatchDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#standing = { socket: options.socket, state: 'connecting' };
    this.#folder = new FolderWatch({
      onGone: (name) => {
        const digest = parseDigest(`sha256:${name}`);
        if (digest !== undefined) dependencies.shelf.gone(digest);
      },
      onNew: () => this.#changed(),
      logger: dependencies.logger,
    });
  }

  start(): void {
    this.#running ??= this.#run();
  }

  standing(): ContentStanding {
    return this.#standing;
  }

  async stop(): Promise<void> {
    this.#closing.abort();
    this.#wake?.();
    await this.#running;
    this.#folder.close();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    let pauseMs = MIN_PAUSE_MS;
    while (!signal.aborted) {
      try {
        await this.#follow(() => {
          pauseMs = MIN_PAUSE_MS;
        });
      } catch (error) {
        if (signal.aborted) return;
        this.#stand('unreachable', error instanceof ContainerdError ? error.message : String(error));
      }
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      pauseMs = Math.min(MAX_PAUSE_MS, pauseMs * 2);
    }
  }

  /** One connection, until it ends. @throws ContainerdError */
  async #follow(onListed: () => void): Promise<void> {
    const api = new ContainerdApi(this.#options.socket);
    const ended = new AbortController();
    const signal = AbortSignal.any([this.#closing.signal, ended.signal]);
    try {
      const folder = await this.#contentFolder(api, signal);
      // Listened to first, so that no change falls between.
      const listening = this.#listen(api, signal).finally(() => {
        ended.abort();
        // Also when it ends during a listing, nobody waits for the next turn.
        this.#changed();
      });
      listening.catch(() => undefined);
      while (!signal.aborted) {
        this.#isChanged = false;
        const startedAt = performance.now();
        await this.#list(api, folder, signal);
        onListed();
        await this.#nextTurn(LIST_SHARE * (performance.now() - startedAt));
      }
      await listening;
    } finally {
      ended.abort();
      api.close();
    }
  }

  async #contentFolder(api: ContainerdApi, signal: AbortSignal): Promise<string> {
    const told = await api.contentFolder(signal);
    const { root } = this.#options;
    return root === undefined ? told : join(root, CONTENT_FOLDER);
  }

  /** @throws ContainerdError when the connection ends */
  async #listen(api: ContainerdApi, signal: AbortSignal): Promise<void> {
    for await (const _topic of api.changes(signal)) this.#changed();
    throw new ContainerdError('the connection ended');
  }

  #changed(): void {
    this.#isChanged = true;
    this.#wake?.();
  }

  /** Resolves a moment after the next change, or when it is time again; not before `leastMs`. */
  async #nextTurn(leastMs: number): Promise<void> {
    const { signal } = this.#closing;
    if (!this.#isChanged && !signal.aborted) {
      const turn = Promise.withResolvers<void>();
      const timer = setTimeout(turn.resolve, this.#options.rescanMs ?? RESCAN_MS);
      this.#wake = turn.resolve;
      await turn.promise;
      clearTimeout(timer);
      this.#wake = undefined;
    }
    await sleep(Math.max(SETTLE_MS, leastMs), undefined, { signal }).catch(() => undefined);
  }

  /** @throws ContainerdError */
  async #list(api: ContainerdApi, folder: string, signal: AbortSignal): Promise<void> {
    const { shelf, logger, idOf, clock } = this.#dependencies;
    const content = await this.#content(api, signal);
    const from = this.#provenance.judge(content, clock());
    const problem = await this.#folder.follow(join(folder, 'blobs', 'sha256'), content.size > 0);
    const listed: BlobRecord[] = [];
    for (const [digest, registry] of problem === undefined ? from : []) {
      const { isShared = false, sizeBytes = 0 } = content.get(digest) ?? {};
      if (isShared) listed.push({ id: idOf(registry, digest), sizeBytes });
    }
    if (listed.length > MAX_BLOBS)
      logger.warn({ blobs: listed.length }, `only ${MAX_BLOBS} of containerd's blobs are shared`);
    shelf.replace(listed.slice(0, MAX_BLOBS), folder);
    if (problem === undefined) this.#stand('listed', undefined, folder);
    else this.#stand('unreadable', problem, folder);
  }

  async #content(api: ContainerdApi, signal: AbortSignal): Promise<Map<Digest, Content>> {
    const { namespaces: chosen } = this.#options;
    const content = new Map<Digest, Content>();
    for (const namespace of await api.namespaces(signal)) {
      const isShared = chosen.length === 0 || chosen.includes(namespace);
      for await (const { digest: text, sizeBytes, createdAtMs, labels } of api.content(namespace, signal)) {
        const digest = parseDigest(text);
        if (digest === undefined || !Number.isSafeInteger(sizeBytes) || sizeBytes < 0) continue;
        const before = content.get(digest);
        const registries = before?.registries ?? new Set<string>();
        for (const registry of registriesOf(labels)) registries.add(registry);
        content.set(digest, {
          sizeBytes,
          registries,
          createdAtMs: Math.min(createdAtMs, before?.createdAtMs ?? createdAtMs),
          isShared: isShared || before?.isShared === true,
        });
      }
    }
    return content;
  }

  #stand(state: ContentState, problem?: string, folder = this.#standing.folder): void {
    const before = this.#standing;
    const { socket } = before;
    this.#standing = {
      socket,
      state,
      ...(folder === undefined ? {} : { folder }),
      ...(problem === undefined ? {} : { problem }),
    };
    if (before.state === state && before.problem === problem) return;
    const { logger } = this.#dependencies;
    if (problem === undefined) logger.info({ socket, folder }, "containerd's content is shared");
    else logger.warn({ socket, problem }, `containerd's content is not followed: it is ${state}`);
  }
}
