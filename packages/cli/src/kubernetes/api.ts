/**
 * The Kubernetes API as a pod asks it: at the address in its environment, with the token and the authority of its service account.
 * A question that fails for a while (no answer, 429, 5xx) is asked again until the time is over.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hostAndPort } from '@shoal/process/addresses';
import { Agent, request } from 'undici';
import { CommandFailure, oneLine } from '../command-failure.ts';
import { codeOf } from '../error-code.ts';

export const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';
const ANSWER_WITHIN_MS = 5_000;
const PAUSE_MS = 500;
const MAX_ANSWER_BYTES: number = 4 * 2 ** 20;

export interface KubernetesOptions {
  /** Starts every complaint. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** With the files `token`, `ca.crt` and `namespace`. */
  readonly serviceAccountDir: string;
  /** How long a question is asked again. */
  readonly withinMs: number;
}

export interface KubernetesAnswer {
  readonly status: number;
  readonly body: unknown;
}

export class KubernetesApi {
  readonly namespace: string;
  readonly #options: KubernetesOptions;
  readonly #url: string;
  readonly #token: string;
  readonly #connections: Agent;

  private constructor(
    options: KubernetesOptions,
    url: string,
    files: { token: string; ca: string; namespace: string },
  ) {
    this.#options = options;
    this.#url = url;
    this.#token = files.token;
    this.namespace = files.namespace;
    this.#connections = new Agent({ connect: { ca: files.ca }, maxResponseSize: MAX_ANSWER_BYTES });
  }

  /** @throws CommandFailure outside a pod */
  static async open(options: KubernetesOptions): Promise<KubernetesApi> {
    const { program, env, serviceAccountDir } = options;
    const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = env;
    if (host === undefined || host === '') {
      throw new CommandFailure(
        `${program}: there is no Kubernetes here (KUBERNETES_SERVICE_HOST is not set); run it in a pod`,
      );
    }
    const read = async (name: string): Promise<string> => {
      const path = join(serviceAccountDir, name);
      return (
        await readFile(path, 'utf8').catch((cause: unknown) => {
          const why = codeOf(cause) ?? 'unknown reason';
          throw new CommandFailure(`${program}: ${path} cannot be read (${why}); give the pod a service account`, 1, {
            cause,
          });
        })
      ).trim();
    };
    const [token, ca, namespace] = await Promise.all([read('token'), read('ca.crt'), read('namespace')]);
    return new KubernetesApi(options, `https://${hostAndPort(host, port)}`, {
      token,
      ca,
      namespace,
    });
  }

  get(path: string): Promise<KubernetesAnswer> {
    return this.#ask('GET', path);
  }

  /** What a question that got no answer may have made is there at the next: 409. */
  post(path: string, body: object): Promise<KubernetesAnswer> {
    return this.#ask('POST', path, body);
  }

  async close(): Promise<void> {
    await this.#connections.destroy();
  }

  /** For an answer that does not help. */
  refused(what: string, { status, body }: KubernetesAnswer): CommandFailure {
    const message =
      typeof body === 'object' && body !== null && 'message' in body ? `: ${oneLine(String(body.message))}` : '';
    return new CommandFailure(`${this.#options.program}: ${what} (status ${status}${message})`);
  }

  async #ask(method: 'GET' | 'POST', path: string, body?: object): Promise<KubernetesAnswer> {
    const deadline = performance.now() + this.#options.withinMs;
    for (;;) {
      const answer = await this.#askOnce(method, path, body).catch((error: unknown) => oneLine(reason(error)));
      const isLasting = typeof answer === 'object' && answer.status !== 429 && answer.status < 500;
      if (isLasting) return answer;
      if (performance.now() + PAUSE_MS > deadline) {
        const why = typeof answer === 'string' ? answer : `status ${answer.status}`;
        throw new CommandFailure(
          `${this.#options.program}: the Kubernetes API at ${this.#url} does not answer (${why})`,
        );
      }
      await sleep(PAUSE_MS);
    }
  }

  async #askOnce(method: 'GET' | 'POST', path: string, body?: object): Promise<KubernetesAnswer> {
    const answer = await request(this.#url + path, {
      method,
      dispatcher: this.#connections,
      headers: {
        authorization: `Bearer ${this.#token}`,
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, body: parsed(text) };
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function reason(error: unknown): string {
  return codeOf(error) ?? (error instanceof Error ? error.message : String(error));
}
