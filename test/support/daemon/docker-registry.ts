import { setTimeout as sleep } from 'node:timers/promises';
import { DaemonFolder } from './daemon-folder.ts';
import { writeLoopbackCertificate } from './loopback-certificate.ts';
import { DaemonProcess } from './process.ts';
import { requireProgram } from './programs.ts';
import { type TokenServer, tokenIssuer, tokenService } from './token-server.ts';

/** One line of the access log. */
export interface RegistryRequest {
  readonly method: string;
  /** Path with query. */
  readonly target: string;
  readonly status: number;
  /** The bytes of the body; for a HEAD, of the body that was not sent. */
  readonly sentBytes: number;
  readonly userAgent: string;
}

export interface DockerRegistryOptions {
  /** Whether it answers only to `registryCredentials`, by a Basic challenge. @default false */
  readonly isPrivate?: boolean;
  /** Whose tokens it accepts instead. */
  readonly tokens?: TokenServer;
  /** Whether it speaks TLS, with a certificate for 127.0.0.1 that only `certificateFile` vouches for. @default false */
  readonly tls?: boolean;
}

const user = 'shoal-test';
const password = 'test-password';
// The registry accepts bcrypt alone: this is `password` at the lowest cost.
const passwordHash = '$2b$04$abcdefghijklmnopqrstuuobFaEJANklW4I6zZpcLRbXjrME4Qa2m';

/** What a private registry accepts, as `USER:PASSWORD`. */
export const registryCredentials: string = `${user}:${password}`;

// 127.0.0.1 - shoal-test [20/Nov/2026:21:00:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "shoal/0.1.0"
/** Method, target, status, bytes sent and user agent. */
export const accessLine: RegExp =
  /^\S+ - \S+ \[[^\]]*\] "(\S+) (\S+) [^"]*" (\d+) (\d+) "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"$/;
const listeningLine = /listening on (127\.0\.0\.1:\d+)/;
const quietMs = 150;
const settleTimeoutMs = 5_000;

/** A real registry (Debian's docker-registry) on a free port of 127.0.0.1 with storage of its own. */
export class DockerRegistry implements AsyncDisposable {
  readonly #folder: DaemonFolder;
  readonly #process: DaemonProcess;
  #requests: RegistryRequest[] = [];
  #lastRequestAt = 0;
  #host = '';

  readonly #isTls: boolean;

  private constructor(folder: DaemonFolder, config: string, isTls: boolean) {
    this.#folder = folder;
    this.#isTls = isTls;
    this.#process = new DaemonProcess({
      name: 'docker-registry',
      program: requireProgram('docker-registry'),
      args: ['serve', config],
      onLine: (line) => this.#read(line),
    });
  }

  static async start(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
    const folder = await DaemonFolder.create('registry');
    const auth = await authSettings(folder, options);
    const config = await folder.write(
      'config.yml',
      configuration(folder.join('data'), auth, await tlsSettings(folder, options)),
    );
    const registry = new DockerRegistry(folder, config, options.tls === true);
    await using unready = new AsyncDisposableStack();
    unready.use(registry);
    await registry.#process.ready(() => registry.#host !== '');
    unready.move();
    return registry;
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    return this.#host;
  }

  get url(): string {
    return `${this.#isTls ? 'https' : 'http'}://${this.#host}`;
  }

  /** PEM, of a registry with TLS. */
  get certificateFile(): string {
    return this.#folder.join('registry.crt');
  }

  /** The requests since the last `forget`. A request is logged when its answer has ended: `settle` first. */
  get requests(): readonly RegistryRequest[] {
    return this.#requests;
  }

  /** Starts counting anew. */
  forget(): void {
    this.#requests = [];
  }

  /** Waits until no answer has ended for a moment. */
  async settle(): Promise<void> {
    const deadline = performance.now() + settleTimeoutMs;
    do await sleep(quietMs);
    while (performance.now() - this.#lastRequestAt < quietMs && performance.now() < deadline);
  }

  /** The GET requests for one blob. */
  blobGets(digest: string): RegistryRequest[] {
    return this.#requests.filter((request) => request.method === 'GET' && request.target.includes(`/blobs/${digest}`));
  }

  /** The bytes sent for one blob. */
  blobBytes(digest: string): number {
    return this.blobGets(digest).reduce((sum, request) => sum + request.sentBytes, 0);
  }

  /** Who asked for anything, once each. */
  userAgents(): string[] {
    return [...new Set(this.#requests.map((request) => request.userAgent))];
  }

  async stop(): Promise<void> {
    await this.#process.stop();
    await this.#folder[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #read(line: string): void {
    const request = accessLine.exec(line);
    if (request !== null) {
      const [, method = '', target = '', status, sent, userAgent = ''] = request;
      this.#requests.push({ method, target, status: Number(status), sentBytes: Number(sent), userAgent });
      this.#lastRequestAt = performance.now();
    } else if (this.#host === '') {
      this.#host = listeningLine.exec(line)?.[1] ?? '';
    }
  }
}

async function authSettings(folder: DaemonFolder, { isPrivate, tokens }: DockerRegistryOptions): Promise<object> {
  if (tokens !== undefined) {
    const rootcertbundle = await folder.write('tokens.pem', tokens.certificate);
    return { token: { realm: tokens.realm, service: tokenService, issuer: tokenIssuer, rootcertbundle } };
  }
  if (isPrivate !== true) return {};
  return { htpasswd: { realm: 'shoal-test', path: await folder.write('htpasswd', `${user}:${passwordHash}\n`) } };
}

async function tlsSettings(folder: DaemonFolder, { tls }: DockerRegistryOptions): Promise<object> {
  return tls === true ? await writeLoopbackCertificate(folder, 'registry') : {};
}

/** JSON is YAML. */
function configuration(data: string, auth: object, tls: object): string {
  return `version: 0.1
log:
  level: info
storage:
  filesystem:
    rootdirectory: ${data}
http:
  addr: 127.0.0.1:0
  secret: shoal-test
  tls: ${JSON.stringify(tls)}
auth: ${JSON.stringify(auth)}
`;
}
