// The folder of one run: on a disk with room for every node's copy, gone afterwards, however the run ends.
import { rmSync } from 'node:fs';
import { mkdir, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RigName } from './rig-name.ts';

/** Agents stop storing when the disk has less than 1 GiB left. */
const SPARE_BYTES: number = 2 * 1024 ** 3;

export class RigFolder implements AsyncDisposable {
  readonly path: string;
  readonly #removeAtExit = (): void => rmSync(this.path, { recursive: true, force: true });

  private constructor(path: string) {
    this.path = path;
    process.on('exit', this.#removeAtExit);
  }

  /** @throws when less than `neededBytes` and some spare are free */
  static async create(rig: RigName, neededBytes: number): Promise<RigFolder> {
    const { bavail, bsize } = await statfs(tmpdir());
    if (bavail * bsize < neededBytes + SPARE_BYTES) {
      const gib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;
      throw new Error(
        `${tmpdir()} has ${gib(bavail * bsize)} free, and the run needs ${gib(neededBytes + SPARE_BYTES)}; set TMPDIR to a folder on a larger disk`,
      );
    }
    const folder = new RigFolder(join(tmpdir(), `${rig}`));
    await mkdir(folder.path);
    return folder;
  }

  async make(name: string): Promise<string> {
    const path = join(this.path, name);
    await mkdir(path);
    return path;
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.path, name), { recursive: true, force: true, maxRetries: 3 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 });
    process.off('exit', this.#removeAtExit);
  }
}
