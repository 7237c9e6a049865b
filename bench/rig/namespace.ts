// A network namespace by name: made, entered, removed with everything that runs in it.
import { type ChildProcess, execFileSync, fork } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { attempt, run } from '../../test/support/daemon/process.ts';

const IP = 'ip';
const NSENTER = '/usr/bin/nsenter';
const NAMESPACES = '/run/netns';
const GONE_POLL_MS = 20;
const GONE_TIMEOUT_MS = 5_000;

export class Namespace {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  static async create(name: string): Promise<Namespace> {
    await run(IP, ['netns', 'add', name]);
    const namespace = new Namespace(name);
    await run(IP, ['-n', name, 'link', 'set', 'lo', 'up']);
    return namespace;
  }

  static async all(): Promise<Namespace[]> {
    return (await readdir(NAMESPACES).catch(() => [])).map((name) => new Namespace(name));
  }

  /** A program and its arguments that run another inside; the process id stays the same. */
  command(program: string, args: readonly string[]): { program: string; args: string[] } {
    return { program: NSENTER, args: [`--net=${NAMESPACES}/${this.name}`, '--', program, ...args] };
  }

  /** A TypeScript file as a process of its own inside, with a channel for messages. */
  fork(script: string, args: readonly string[]): ChildProcess {
    const { program, args: entering } = this.command(process.execPath, []);
    // A process group of its own: Ctrl-C is the rig's to handle.
    return fork(script, [...args], { execPath: program, execArgv: entering, detached: true, serialization: 'json' });
  }

  /** Ends what still runs inside, then removes it; its interfaces go with it. */
  async remove(): Promise<void> {
    const deadlineMs = performance.now() + GONE_TIMEOUT_MS;
    for (let pids = await this.#processes(); pids.length > 0; pids = await this.#processes()) {
      if (performance.now() > deadlineMs) throw new Error(`processes ${pids.join(', ')} in ${this.name} do not end`);
      for (const pid of pids) kill(pid);
      await sleep(GONE_POLL_MS);
    }
    await run(IP, ['netns', 'delete', this.name]);
  }

  /** For the moment before this process ends; what runs inside ends by its own leash. */
  removeNow(): void {
    try {
      execFileSync(IP, ['netns', 'delete', this.name], { stdio: 'ignore' });
    } catch {
      // Removed already.
    }
  }

  async #processes(): Promise<number[]> {
    const { stdout } = await attempt(IP, ['netns', 'pids', this.name]);
    return stdout
      .split('\n')
      .map(Number)
      .filter((pid) => pid > 0 && pid !== process.pid);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone between the look and the signal.
  }
}
