/**
 * The connection to the Valkey or Redis that several replicas share. It connects again by itself for as long as it takes;
 * meanwhile, and when an answer takes too long, every command fails at once: whoever asks decides what that means.
 */
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { TrackerStartError } from '../start-error.ts';

const CONNECT_TIMEOUT_MS = 2_000;
const COMMAND_TIMEOUT_MS = 1_000;
/** A start with a store that is away fails after this, so that whoever wrote its address hears of it. */
const FIRST_CONNECT_MS = 10_000;
const MIN_RECONNECT_MS = 50;
const MAX_RECONNECT_MS = 500;
const SCAN_COUNT = 1_000;
/** Trying again does not help. */
const REFUSAL = /^(WRONGPASS|NOAUTH|NOPERM|ERR)\b/;
/** What Node says of a certificate that it does not trust: https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const DISTRUST = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|INVALID_CA|ERR_TLS_CERT_)/;

export interface RedisLinkDependencies {
  logger: Logger;
}

export class RedisLink {
  readonly #redis: Redis;
  readonly #password: string | undefined;

  private constructor(redis: Redis, password: string | undefined) {
    this.#redis = redis;
    this.#password = password;
  }

  /** @param url redis:// or rediss://, with user and password if it wants them @throws TrackerStartError STORE_UNREACHABLE */
  static async open(url: string, { logger }: RedisLinkDependencies): Promise<RedisLink> {
    const redis = new Redis(url, {
      lazyConnect: true,
      connectionName: 'shoal-tracker',
      connectTimeout: CONNECT_TIMEOUT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (tries) => Math.min(MAX_RECONNECT_MS, MIN_RECONNECT_MS * tries),
      // The server that was written to has become another one's replica.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    });
    const named = withoutPassword(url);
    let failure: Error | undefined;
    let isAway = false;
    let refuse: () => void = () => undefined;
    const password = redis.options.password ?? undefined;
    redis.on('error', (caught: Error) => {
      const error = withoutSecrets(caught, password);
      failure = error;
      if (REFUSAL.test(error.message) || isDistrust(error)) refuse();
      if (!isAway) logger.warn({ store: named, err: error }, 'the store of the trackers does not answer');
      isAway = true;
    });
    redis.on('ready', () => {
      if (isAway) logger.info({ store: named }, 'the store of the trackers answers again');
      isAway = false;
    });
    const ready = new Promise<void>((resolve) => redis.once('ready', resolve));
    redis.connect().catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const vain = new Promise<'vain'>((resolve) => {
      refuse = () => resolve('vain');
      timer = setTimeout(refuse, FIRST_CONNECT_MS);
    });
    const outcome = await Promise.race([ready, vain]);
    clearTimeout(timer);
    if (outcome !== 'vain') return new RedisLink(redis, password);
    redis.disconnect();
    const why = failure?.message ?? 'no answer';
    const advice =
      failure !== undefined && isDistrust(failure)
        ? 'It does not show a certificate that this machine trusts: name the authority that signed it in NODE_EXTRA_CA_CERTS'
        : 'Check the address, the password and that the server runs';
    throw new TrackerStartError(
      'STORE_UNREACHABLE',
      `the store ${named} cannot be used (${why}). ${advice}; agents go on without a tracker.`,
      { cause: failure },
    );
  }

  /** Runs a script at the server, all of it or nothing. @throws Error when the server does not answer in time */
  async run(script: string, keys: readonly string[], values: readonly (string | number)[]): Promise<unknown> {
    try {
      // One array: a call takes only so many arguments.
      return await this.#redis.call('EVAL', [script, keys.length, ...keys, ...values]);
    } catch (error) {
      throw withoutSecrets(error, this.#password);
    }
  }

  /** Every field of a hash that begins so, with its value. @param prefix without special characters of a pattern */
  async *fields(key: string, prefix: string): AsyncGenerator<[field: string, value: string]> {
    const seen = new Set<string>();
    let cursor = '0';
    do {
      const [next, flat] = await this.#scan(key, cursor, prefix);
      for (let index = 0; index + 1 < flat.length; index += 2) {
        const [field = '', value = ''] = flat.slice(index, index + 2);
        if (seen.has(field)) continue;
        seen.add(field);
        yield [field, value];
      }
      cursor = next;
    } while (cursor !== '0');
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #scan(key: string, cursor: string, prefix: string): Promise<[cursor: string, flat: string[]]> {
    try {
      return await this.#redis.hscan(key, cursor, 'MATCH', `${prefix}*`, 'COUNT', SCAN_COUNT);
    } catch (error) {
      throw withoutSecrets(error, this.#password);
    }
  }
}

function isDistrust(error: Error & { code?: unknown }): boolean {
  return typeof error.code === 'string' && DISTRUST.test(error.code);
}

/**
 * As it may be logged. ioredis hangs the command that failed on its error, all arguments with it: the password, or all that
 * was to be written. A server that does not know a command repeats its arguments.
 */
function withoutSecrets(error: unknown, password: string | undefined): Error {
  if (!(error instanceof Error)) return new Error(String(error));
  if ('command' in error) delete error.command;
  if (password !== undefined && password !== '') {
    error.message = error.message.replaceAll(password, '***');
    if (error.stack !== undefined) error.stack = error.stack.replaceAll(password, '***');
  }
  return error;
}

/** As it may be told: in logs and errors. */
function withoutPassword(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
