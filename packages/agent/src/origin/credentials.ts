/**
 * The node's own credentials for registries, from the first that has some:
 *
 *   configuration (user name and password) ─► each docker config: its helper program ─► its own entries
 *
 * The files are read again when they change, because pull secrets are rotated under a running agent. What a helper said counts for
 * a while, or until a registry refuses it: ECR's passwords live 12 hours.
 */
import { createHmac, randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { askHelper } from './credential-helper.ts';
import { DockerConfig } from './docker-config.ts';
import { codeOf } from './failure.ts';
import type { Repository } from './origin-client.ts';

/** An identity token is an OAuth refresh token, which only a token server takes. */
export type Credential = { username: string; password: string } | { identityToken: string };

const LOOK_AGAIN_AFTER_MS = 5_000;
const HELPER_ANSWER_MS: number = 5 * 60_000;
/** A helper that fails, or knows nothing, is left alone for so long; so is one whose answer was refused just after it was given. */
const HELPER_PAUSE_MS = 30_000;
const MAX_REGISTRIES = 256;
const MAX_FILE_BYTES: number = 2 ** 20;
const KEY = randomBytes(32);

/** Stands for a credential where it is compared. Of no use outside of this process. */
export function credentialKey(credential: Credential | undefined): string {
  return credential === undefined
    ? ''
    : createHmac('sha256', KEY).update(JSON.stringify(credential)).digest('base64url');
}

export interface CredentialsOptions {
  /** By registry host. @default none */
  configured?: ReadonlyMap<string, Credential>;
  /** Files, the first one that has something counts. @default none */
  dockerConfigs?: readonly string[];
}

export interface CredentialsDependencies {
  logger: Logger;
  /** Milliseconds. */
  clock: () => number;
  /** Ends helpers that still run. */
  signal: AbortSignal;
}

interface HelperAnswer {
  credential: Promise<Credential | undefined>;
  askedAtMs: number;
  /** Changes when it fails. */
  lifetimeMs: number;
}

export class Credentials {
  readonly #configured: ReadonlyMap<string, Credential>;
  readonly #files: readonly ConfigFile[];
  readonly #dependencies: CredentialsDependencies;
  readonly #answers = new LRUCache<string, HelperAnswer>({ max: MAX_REGISTRIES });

  constructor(options: CredentialsOptions, dependencies: CredentialsDependencies) {
    this.#configured = options.configured ?? new Map();
    this.#files = (options.dockerConfigs ?? []).map((path) => new ConfigFile(path, dependencies));
    this.#dependencies = dependencies;
  }

  /** Never throws: what cannot be read or run is logged, and as good as nothing. */
  async of(repository: Repository): Promise<Credential | undefined> {
    const configured = this.#configured.get(repository.registry);
    if (configured !== undefined) return configured;
    for (const file of this.#files) {
      const config = await file.current();
      const call = config?.helper(repository.registry);
      const found = (call && (await this.#fromHelper(call.helper, call.serverUrl))) ?? config?.credential(repository);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** A registry did not accept this: whoever gave it is asked again. */
  refused(credential: Credential): void {
    const key = credentialKey(credential);
    for (const [call, answer] of this.#answers) {
      const isOld = this.#dependencies.clock() > answer.askedAtMs + HELPER_PAUSE_MS;
      if (isOld) void answer.credential.then((given) => credentialKey(given) === key && this.#answers.delete(call));
    }
  }

  async #fromHelper(helper: string, serverUrl: string): Promise<Credential | undefined> {
    const { logger, clock, signal } = this.#dependencies;
    const key = `${helper} ${serverUrl}`;
    const known = this.#answers.get(key);
    if (known !== undefined && clock() < known.askedAtMs + known.lifetimeMs) return await known.credential;
    const answer: HelperAnswer = {
      askedAtMs: clock(),
      lifetimeMs: HELPER_ANSWER_MS,
      credential: askHelper({ helper, serverUrl }, signal).then(
        (credential) => {
          if (credential === undefined) answer.lifetimeMs = HELPER_PAUSE_MS;
          return credential;
        },
        (error: unknown) => {
          answer.lifetimeMs = HELPER_PAUSE_MS;
          logger.warn({ helper, serverUrl }, `credential helper: ${error instanceof Error ? error.message : 'failed'}`);
          return undefined;
        },
      ),
    };
    this.#answers.set(key, answer);
    return await answer.credential;
  }
}

/** Why a file cannot be used, as the end of a sentence. */
export async function dockerConfigProblem(path: string): Promise<string | undefined> {
  try {
    return (await readDockerConfig(path)) === undefined
      ? 'is no docker config (JSON with auths or credHelpers)'
      : undefined;
  } catch (error) {
    return `cannot be read (${codeOf(error) || 'unknown reason'})`;
  }
}

/** Undefined when it is none. @throws the system's error */
async function readDockerConfig(path: string): Promise<DockerConfig | undefined> {
  const { size } = await stat(path);
  return size > MAX_FILE_BYTES ? undefined : DockerConfig.parse(await readFile(path, 'utf8'));
}

/** A docker config on disk; what it last held counts while it cannot be read. */
class ConfigFile {
  readonly #path: string;
  readonly #dependencies: Pick<CredentialsDependencies, 'logger' | 'clock'>;
  #config: DockerConfig | undefined;
  #version = '';
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;

  constructor(path: string, dependencies: Pick<CredentialsDependencies, 'logger' | 'clock'>) {
    this.#path = path;
    this.#dependencies = dependencies;
  }

  async current(): Promise<DockerConfig | undefined> {
    const { clock } = this.#dependencies;
    if (clock() >= this.#lookedAtMs + LOOK_AGAIN_AFTER_MS) {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = undefined;
        this.#lookedAtMs = clock();
      });
      await this.#looking;
    }
    return this.#config;
  }

  async #look(): Promise<void> {
    const { logger } = this.#dependencies;
    try {
      const { mtimeMs, ino, size } = await stat(this.#path);
      const version = `${mtimeMs} ${ino} ${size}`;
      if (version === this.#version) return;
      const config = await readDockerConfig(this.#path);
      this.#version = version;
      if (config === undefined)
        logger.warn({ file: this.#path }, 'is no docker config (JSON); what it held before counts');
      else this.#config = config;
    } catch (error) {
      const code = codeOf(error);
      if (this.#version !== code) logger.warn({ file: this.#path, code }, 'cannot read the docker config');
      this.#version = code;
    }
  }
}
