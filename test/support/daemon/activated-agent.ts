import { agentOnFreePorts, presentMain } from '../run-shoal.ts';
import { DaemonFolder } from './daemon-folder.ts';
import { freePort } from './free-ports.ts';
import { DaemonProcess } from './process.ts';
import { requireProgram } from './programs.ts';

/**
 * What `Restart=always` does, as often as a test may need it, in a shell that keeps the socket (descriptor 3) open meanwhile. Each
 * agent is told that the socket is for it, and its process id.
 */
const RESTARTING = `
trap 'kill "$agent"; wait "$agent"; exit 0' TERM
for turn in 1 2 3 4 5 6; do
  sh -c 'LISTEN_PID=$$ exec "$0" "$@"' "$@" &
  agent=$!
  echo "agent $agent"
  wait "$agent"
  echo "agent over $?"
  sleep 0.2
done`;

/**
 * An agent whose mirror's socket is made and held by `systemd-socket-activate`, as `shoal-agent.socket` has systemd do it: it is
 * started by the first connection, and again whenever it ends.
 */
export class ActivatedAgent implements AsyncDisposable {
  /** `HOST:PORT`, or a path. */
  readonly at: string;
  readonly #folder: DaemonFolder;
  readonly #process: DaemonProcess;
  #pid = 0;
  #ready = 0;
  #adminUrl = '';

  private constructor(folder: DaemonFolder, at: string, args: readonly string[]) {
    this.at = at;
    this.#folder = folder;
    this.#process = new DaemonProcess({
      name: 'systemd-socket-activate',
      program: requireProgram('systemd-socket-activate'),
      args: ['-l', at, '--fdname=mirror', '/bin/sh', '-c', RESTARTING, 'sh', process.execPath, ...args],
      onLine: (line) => {
        const pid = /^agent (\d+)$/.exec(line)?.[1];
        if (pid !== undefined) this.#pid = Number(pid);
        if (!line.startsWith('{"event":"ready"')) return;
        this.#ready += 1;
        this.#adminUrl = JSON.parse(line).admin;
      },
    });
  }

  /** Listens, and starts nothing yet. `mirror`: what the agent's setting is, where that is not where it listens. `isUnix`: a socket that is none of TCP. */
  static async start(args: readonly string[], mirror?: string, isUnix = false): Promise<ActivatedAgent> {
    const folder = await DaemonFolder.create('activated');
    const at = isUnix ? folder.join('socket') : `127.0.0.1:${await freePort()}`;
    const command = agentOnFreePorts(folder.join('data'), ...args, '--mirror', mirror ?? at);
    const agent = new ActivatedAgent(folder, at, ['--conditions=source', presentMain, ...command]);
    await using unready = new AsyncDisposableStack();
    unready.use(agent);
    await agent.#process.ready(() => agent.log.includes('Listening on'));
    unready.move();
    return agent;
  }

  get mirrorUrl(): string {
    return `http://${this.at}`;
  }

  /** Of the agent that runs, or ran last; 0 before the first connection. */
  get pid(): number {
    return this.#pid;
  }

  /** Of the agent that got ready last. */
  get adminUrl(): string {
    return this.#adminUrl;
  }

  /** How many agents have got ready so far. */
  get readyCount(): number {
    return this.#ready;
  }

  /** Of all agents so far, and the shell's. */
  get log(): string {
    return this.#process.log;
  }

  signal(signal: 'SIGTERM' | 'SIGKILL'): void {
    if (this.#pid === 0) throw new Error('no agent was started yet');
    process.kill(this.#pid, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
    await this.#folder[Symbol.asyncDispose]();
  }
}
