import { fileURLToPath } from 'node:url';
import { DaemonFolder } from './daemon-folder.ts';
import { DaemonProcess } from './process.ts';

const commandLine = fileURLToPath(new URL('../../../packages/cli/src/main.ts', import.meta.url));
const metricsTimeoutMs = 5_000;

export interface AgentProcessOptions {
  /** How to reach each origin: registry host → base URL. */
  readonly registries: Readonly<Record<string, string>>;
}

interface ReadyLine {
  readonly event: string;
  readonly mirror: string;
  readonly admin: string;
}

/** One agent without a tracker, as its own process with data of its own, on free ports of 127.0.0.1. */
export class AgentProcess implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #process: DaemonProcess;
  #ready: ReadyLine | undefined;

  private constructor(folder: DaemonFolder, registries: Readonly<Record<string, string>>) {
    this.#folder = folder;
    const args = ['--conditions=source', commandLine, 'agent', '--data', folder.join('data')];
    args.push('--mirror', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--peer-listen', '/ip4/127.0.0.1/tcp/0');
    for (const [host, url] of Object.entries(registries)) args.push('--registry', `${host}=${url}`);
    this.#process = new DaemonProcess({
      name: 'shoal agent',
      program: process.execPath,
      args,
      cwd: folder.path,
      onLine: (line, stream) => {
        if (stream === 'stdout' && this.#ready === undefined) this.#ready = readyLine(line);
      },
    });
  }

  static async start(options: AgentProcessOptions): Promise<AgentProcess> {
    const agent = new AgentProcess(await DaemonFolder.create('agent'), options.registries);
    await using unready = new AsyncDisposableStack();
    unready.use(agent);
    await agent.#process.ready(() => agent.#ready);
    unready.move();
    return agent;
  }

  /** The mirror's base URL. */
  get mirror(): string {
    if (this.#ready === undefined) throw new Error('the agent is not ready');
    return this.#ready.mirror;
  }

  /** The mirror's `HOST:PORT`. */
  get mirrorHost(): string {
    return new URL(this.mirror).host;
  }

  get log(): string {
    return this.#process.log;
  }

  /** The metrics page. */
  async metrics(): Promise<string> {
    const response = await fetch(`${this.#ready?.admin}/metrics`, { signal: AbortSignal.timeout(metricsTimeoutMs) });
    return response.text();
  }

  /** Ends the process and keeps its data: whoever asks the mirror is refused. */
  async kill(): Promise<void> {
    await this.#process.kill();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
    await this.#folder[Symbol.asyncDispose]();
  }
}

function readyLine(line: string): ReadyLine | undefined {
  try {
    const value = JSON.parse(line) as ReadyLine;
    return value.event === 'ready' ? value : undefined;
  } catch {
    return undefined;
  }
}
