import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { DaemonFolder } from './daemon-folder.ts';
import { freePort } from './free-ports.ts';
import { type LoopbackCertificate, writeLoopbackCertificate } from './loopback-certificate.ts';
import { DaemonProcess } from './process.ts';
import { requireProgram } from './programs.ts';

const host = '127.0.0.1';

/** A real Redis (Debian's redis-server) on a free port of 127.0.0.1, with a folder of its own and every write on disk. */
export class RedisServer implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #port: number;
  readonly #password: string;
  readonly #tls: LoopbackCertificate | undefined;
  #process: DaemonProcess;

  private constructor(folder: DaemonFolder, port: number, password: string, tls: LoopbackCertificate | undefined) {
    this.#folder = folder;
    this.#port = port;
    this.#password = password;
    this.#tls = tls;
    this.#process = this.#launch();
  }

  /** @param options.tls whether it speaks TLS alone, with a certificate that only `certificateFile` vouches for @default false */
  static async start({ password, tls = false }: { password: string; tls?: boolean }): Promise<RedisServer> {
    const folder = await DaemonFolder.create('redis');
    const certificate = tls ? await writeLoopbackCertificate(folder, 'redis') : undefined;
    const server = new RedisServer(folder, await freePort(), password, certificate);
    await using unready = new AsyncDisposableStack();
    unready.use(server);
    await server.#process.ready(() => server.#answers());
    unready.move();
    return server;
  }

  /** As `--store` takes it, of the database 0. */
  get url(): string {
    return `${this.#tls === undefined ? 'redis' : 'rediss'}://:${this.#password}@${host}:${this.#port}/0`;
  }

  get certificateFile(): string {
    if (this.#tls === undefined) throw new Error('this Redis has no certificate');
    return this.#tls.certificate;
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
    const port = String(this.#port);
    const listen =
      this.#tls === undefined
        ? ['--port', port]
        : [
            ...['--port', '0', '--tls-port', port, '--tls-auth-clients', 'no'],
            ...['--tls-cert-file', this.#tls.certificate, '--tls-key-file', this.#tls.key],
          ];
    return new DaemonProcess({
      name: 'redis-server',
      program: requireProgram('redis-server'),
      args: [
        ...['--bind', host, ...listen, '--dir', this.#folder.path],
        ...['--appendonly', 'yes', '--appendfsync', 'always', '--save', ''],
        ...['--requirepass', this.#password],
      ],
    });
  }

  /** It says so only once it has read its data. */
  async #answers(): Promise<boolean> {
    const isTls = this.#tls !== undefined;
    const socket = isTls
      ? connectTls({ port: this.#port, host, rejectUnauthorized: false })
      : connect(this.#port, host);
    try {
      await once(socket, isTls ? 'secureConnect' : 'connect');
      socket.write(`AUTH ${this.#password}\r\n`);
      const [answer] = await once(socket, 'data');
      return String(answer).startsWith('+OK');
    } finally {
      socket.destroy();
    }
  }
}
