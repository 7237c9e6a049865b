import { once } from 'node:events';
import { connect } from 'node:net';
import { DaemonFolder } from './daemon-folder.ts';
import { freePort } from './free-ports.ts';
import { DaemonProcess } from './process.ts';
import { requireProgram } from './programs.ts';

const host = '127.0.0.1';

/** A real Redis (Debian's redis-server) on a free port of 127.0.0.1, with a folder of its own and every write on disk. */
export class RedisServer implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #port: number;
  readonly #password: string;
  #process: DaemonProcess;

  private constructor(folder: DaemonFolder, port: number, password: string) {
    this.#folder = folder;
    this.#port = port;
    this.#password = password;
    this.#process = this.#launch();
  }

  static async start({ password }: { password: string }): Promise<RedisServer> {
    const server = new RedisServer(await DaemonFolder.create('redis'), await freePort(), password);
    await using unready = new AsyncDisposableStack();
    unready.use(server);
    await server.#process.ready(() => server.#answers());
    unready.move();
    return server;
  }

  /** As `--store` takes it, of the database 0. */
  get url(): string {
    return `redis://:${this.#password}@${host}:${this.#port}/0`;
  }

  async kill(): Promise<void> {
    await this.#process.kill();
  }

  /** The same data at the same port. */
  async restart(): Promise<void> {
    await this.#process.stop();
    this.#process = this.#launch();
    await this.#process.ready(() => this.#answers());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop();
    await this.#folder[Symbol.asyncDispose]();
  }

  #launch(): DaemonProcess {
    return new DaemonProcess({
      name: 'redis-server',
      program: requireProgram('redis-server'),
      args: [
        ...['--bind', host, '--port', String(this.#port), '--dir', this.#folder.path],
        ...['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''],
        ...['--requirepass', this.#password],
      ],
    });
  }

  /** It says so only once it has read its data. */
  async #answers(): Promise<boolean> {
    const socket = connect(this.#port, host);
    try {
      await once(socket, 'connect');
      socket.write(`AUTH ${this.#password}\r\n`);
      const [answer] = await once(socket, 'data');
      return String(answer).startsWith('+OK');
    } finally {
      socket.destroy();
    }
  }
}
