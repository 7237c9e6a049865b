import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { makeCgroup, removeCgroup } from './cgroup.ts';
import { attempt, isAlive } from './process.ts';

const folderPrefix = 'shoal-e2e-';
const leftoverGraceMs = 2_000;
const leftoverPollMs = 50;

/**
 * One daemon's own folder under the system's temporary folder: its data, its state and its sockets. Disposing it ends
 * what still runs from it (shims that outlived their daemon) or in its cgroup, unmounts what is still mounted below it and
 * removes it.
 */
export class DaemonFolder implements AsyncDisposable {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  static async create(name: string): Promise<DaemonFolder> {
    // Short: the paths of unix sockets end at 107 bytes. The process id tells `sweep` whether the folder is still in use.
    return new DaemonFolder(await mkdtemp(join(tmpdir(), `${folderPrefix}${name}-${process.pid}-`)));
  }

  /** Disposes the folders of test processes that ended without doing so; those of another user stay. */
  static async sweep(): Promise<void> {
    for (const name of await readdir(tmpdir())) {
      if (!name.startsWith(folderPrefix)) continue;
      const pid = Number(name.split('-').at(-2));
      if (!(pid > 0) || isAlive(pid)) continue;
      await new DaemonFolder(join(tmpdir(), name))[Symbol.asyncDispose]().catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EACCES' && error.code !== 'EPERM') throw error;
      });
    }
  }

  join(...parts: string[]): string {
    return join(this.path, ...parts);
  }

  /** Writes a text file below the folder, with the folders it needs; gives its path. */
  async write(name: string, text: string): Promise<string> {
    const path = this.join(name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, text);
    return path;
  }

  /** Makes a cgroup that goes with the folder; gives where it is. */
  makeCgroup(): Promise<string> {
    return makeCgroup(this.path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#endLeftovers();
    await removeCgroup(this.path);
    for (const mount of await this.#mounts()) await attempt('umount', ['-l', mount]);
    await rm(this.path, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  /** Processes that were started with this folder on their command line: nothing else can know its random name. */
  async #endLeftovers(): Promise<void> {
    const deadline = performance.now() + leftoverGraceMs;
    for (;;) {
      const pids = await this.#processes();
      if (pids.length === 0 || performance.now() > deadline) return;
      for (const pid of pids) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // Gone between the look and the signal.
        }
      }
      await sleep(leftoverPollMs);
    }
  }

  async #processes(): Promise<number[]> {
    const pids: number[] = [];
    for (const entry of await readdir('/proc').catch(() => [])) {
      const pid = Number(entry);
      if (!Number.isInteger(pid) || pid === process.pid || pid === process.ppid) continue;
      const commandLine = await readFile(`/proc/${entry}/cmdline`, 'utf8').catch(() => '');
      if (commandLine.includes(`${this.path}/`)) pids.push(pid);
    }
    return pids;
  }

  /** The mounts below the folder, innermost first. */
  async #mounts(): Promise<string[]> {
    const table = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
    return table
      .split('\n')
      .map((line) => line.split(' ')[4] ?? '')
      .filter((mount) => mount.startsWith(`${this.path}/`))
      .reverse();
  }
}
