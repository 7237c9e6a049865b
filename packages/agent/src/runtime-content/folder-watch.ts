/**
 * Watches the one folder that containerd's files of content are in. containerd moves whole files into it and removes them, and never
 * changes one. Where it cannot be watched, listings alone tell what is new and gone.
 */
import { type FSWatcher, watch } from 'node:fs';
import { access, constants, lstat, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { hasCode } from '../store/failure.ts';

export interface FolderWatchDependencies {
  /** A file of this name was removed. */
  onGone: (name: string) => void;
  /** Something else happened there. */
  onNew: () => void;
  logger: Logger;
}

interface Watched {
  path: string;
  inode: number;
  watcher: FSWatcher;
}

export class FolderWatch {
  readonly #dependencies: FolderWatchDependencies;
  #watched: Watched | undefined;

  constructor(dependencies: FolderWatchDependencies) {
    this.#dependencies = dependencies;
  }

  /**
   * Watches this folder, in place of another one or of an earlier one of the same name. Returns why its files cannot be read, if they
   * cannot; never rejects. @param hasContent there must be files: an empty store may have no folder yet
   */
  async follow(path: string, hasContent: boolean): Promise<string | undefined> {
    try {
      const { ino: inode } = await stat(path);
      await access(path, constants.R_OK | constants.X_OK);
      const { path: before, inode: inodeBefore } = this.#watched ?? {};
      if (before !== path || inodeBefore !== inode) this.#watch(path, inode);
      return undefined;
    } catch (error) {
      this.close();
      if (hasCode(error, 'ENOENT')) return hasContent ? `${path} is not there` : undefined;
      if (hasCode(error, 'EACCES') || hasCode(error, 'EPERM')) return `${path} may not be read`;
      return `${path}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  close(): void {
    this.#watched?.watcher.close();
    this.#watched = undefined;
  }

  #watch(path: string, inode: number): void {
    this.close();
    try {
      const watcher = watch(path, { persistent: false }, (_event, name) => void this.#changed(path, name));
      const watched = { path, inode, watcher };
      watcher.on('error', () => {
        watcher.close();
        if (this.#watched === watched) this.#watched = undefined;
      });
      this.#watched = watched;
    } catch (err) {
      this.#dependencies.logger.warn({ err, path }, "containerd's files cannot be watched: looked at now and then");
    }
  }

  /** Never rejects. */
  async #changed(folder: string, name: string | null): Promise<void> {
    const { onGone, onNew } = this.#dependencies;
    const isGone =
      name !== null && (await lstat(join(folder, name)).catch((error: unknown) => hasCode(error, 'ENOENT'))) === true;
    if (isGone) onGone(name);
    else onNew();
  }
}
