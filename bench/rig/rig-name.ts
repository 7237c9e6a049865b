// The name that everything of one run carries, so that a later run can tell what a dead one has left behind.
import { startTicks } from './proc.ts';

const PREFIX = 'shoal-rig';

export class RigName {
  readonly #pid: number;
  /** Process ids are given out again; with its start time a process is known for good. */
  readonly #startTicks: number;

  private constructor(pid: number, ticks: number) {
    this.#pid = pid;
    this.#startTicks = ticks;
  }

  static ofThisProcess(): RigName {
    return new RigName(process.pid, startTicks(process.pid) ?? 0);
  }

  /** The rig that a namespace or folder belongs to; undefined for what is none of ours. */
  static of(name: string): RigName | undefined {
    const [, pid, ticks] = new RegExp(`^${PREFIX}-(\\d+)-(\\d+)(?:-|$)`).exec(name) ?? [];
    return pid === undefined ? undefined : new RigName(Number(pid), Number(ticks));
  }

  get isRunning(): boolean {
    return startTicks(this.#pid) === this.#startTicks;
  }

  toString(): string {
    return `${PREFIX}-${this.#pid}-${this.#startTicks}`;
  }
}
