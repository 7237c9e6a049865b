/**
 * Why an agent (or a tracker) did not start, in words for the person who started it. `message` says what is wrong,
 * `hint` what to do; both fit in one line together and neither holds a secret.
 */
import { hostAndPort } from '@shoal/process/addresses';
import type { HostPort } from './agent-config.ts';

/**
 * - `port-in-use`, `address-unavailable`, `port-forbidden`: a listening address cannot be had.
 * - `data-unwritable`, `data-locked`, `data-damaged`, `disk-full`: the data folder cannot be used.
 * - `wrong-join-token`, `wrong-tracker`, `clock-skew`, `barred`: the tracker refuses this agent, or is not the one meant.
 * - `too-many-files`: the limit on open files is too low.
 * - `wrong-usage`: a setting is wrong.
 * - `failed`: anything else.
 */
export type StartErrorCode =
  | 'port-in-use'
  | 'address-unavailable'
  | 'port-forbidden'
  | 'data-unwritable'
  | 'data-locked'
  | 'data-damaged'
  | 'disk-full'
  | 'wrong-join-token'
  | 'wrong-tracker'
  | 'clock-skew'
  | 'barred'
  | 'too-many-files'
  | 'wrong-usage'
  | 'failed';

export class StartError extends Error {
  readonly code: StartErrorCode;
  readonly hint: string;
  /** 1: the start failed. 2: it was asked for wrongly. */
  readonly exitCode: 1 | 2;
  constructor(code: StartErrorCode, message: string, hint: string, options: ErrorOptions = {}) {
    super(message, options);
    this.name = 'StartError';
    this.code = code;
    this.hint = hint;
    this.exitCode = code === 'wrong-usage' ? 2 : 1;
  }
}

/** What was being done when a system call failed: the setting to change is part of the advice. */
export type StartStep =
  | { kind: 'listen'; flag: string; address: HostPort | string }
  | { kind: 'data'; flag: string; path: string };

/** The error itself and what caused it, outermost first; a cycle ends the walk. */
function* chainOf(error: unknown): Generator<Error & { code?: unknown }> {
  let current = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    yield current;
    current = current.cause;
  }
}

/** Names a failure of one step of the start. A StartError passes through. */
export function startErrorFrom(error: unknown, step: StartStep): StartError {
  let deepest = String(error);
  for (const link of chainOf(error)) {
    if (link instanceof StartError) return link;
    const named = typeof link.code === 'string' ? namedError(link.code, step, error) : undefined;
    if (named !== undefined) return named;
    deepest = link.message;
  }
  const worded = fromWords(deepest, step, error);
  if (worded !== undefined) return worded;
  const what = step.kind === 'listen' ? `cannot listen on ${shown(step.address)}` : `cannot use ${step.path}`;
  return new StartError('failed', `${what}: ${oneLine(deepest)}`, `Check ${step.flag}`, { cause: error });
}

/** The tracker said that the secret in the join token is not its cluster's. */
export function wrongJoinToken(trackerUrl: string): StartError {
  return new StartError(
    'wrong-join-token',
    `the tracker ${trackerUrl} does not accept this join token`,
    'Take the token from the file join-token in the data folder of that tracker and pass it with --join-token @FILE',
  );
}

/** The key that the tracker shows is not the one that the join token pins. */
export function wrongTracker(trackerUrl: string): StartError {
  return new StartError(
    'wrong-tracker',
    `${trackerUrl} is not the tracker that made this join token`,
    'Check --tracker, and take the token from the file join-token in the data folder of that tracker',
  );
}

/** @param aheadMs how far this machine's clock is ahead of the tracker's; negative when it is behind */
export function clockSkew(trackerUrl: string, aheadMs: number): StartError {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  return new StartError(
    'clock-skew',
    `this machine's clock is ${seconds} s ${aheadMs < 0 ? 'behind' : 'ahead of'} the clock of the tracker ${trackerUrl}`,
    'Set it, e.g. with timedatectl set-ntp true',
  );
}

export function barred(trackerUrl: string, peerId: string): StartError {
  return new StartError(
    'barred',
    `the tracker ${trackerUrl} has barred this agent (${peerId}) because it was found passing on wrong bytes`,
    'Check the disk of this machine, then start with an empty data folder to join as a new agent',
  );
}

function namedError(code: string, step: StartStep, cause: unknown): StartError | undefined {
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new StartError(
      'too-many-files',
      'the limit on open files is too low',
      'Raise it, e.g. with ulimit -n 65536, or LimitNOFILE= in a systemd unit',
      { cause },
    );
  }
  return step.kind === 'listen' ? listenError(code, step, cause) : dataError(code, step, cause);
}

function listenError(code: string, step: StartStep & { kind: 'listen' }, cause: unknown): StartError | undefined {
  const { flag, address } = step;
  const value = typeof address === 'string' ? 'MULTIADDR' : 'HOST:PORT';
  switch (code) {
    case 'EADDRINUSE':
      return new StartError(
        'port-in-use',
        `${portOf(address)} is in use by another program`,
        `Stop it or choose another with ${flag} ${value}`,
        { cause },
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EAFNOSUPPORT':
      return new StartError(
        'address-unavailable',
        isSeveral(address)
          ? `${shown(address)} is no address of this machine`
          : `this machine has no address ${shown(address)}`,
        `Choose one of its own with ${flag} ${value}`,
        { cause },
      );
    case 'EACCES':
    case 'EPERM':
      return new StartError(
        'port-forbidden',
        `this user may not listen on ${shown(address)}`,
        `Choose a port above 1023 with ${flag} ${value}`,
        { cause },
      );
    default:
      return undefined;
  }
}

const UNWRITABLE: ReadonlyMap<string, string> = new Map([
  ['EACCES', 'may not be written by this user'],
  ['EPERM', 'may not be written by this user'],
  ['EROFS', 'is on a read-only file system'],
  ['ENOENT', 'cannot be made there'],
  ['ENOTDIR', 'is not a folder'],
  ['EEXIST', 'is not a folder'],
  ['ELOOP', 'goes round in symbolic links'],
  ['ENAMETOOLONG', 'is too long a path'],
]);

function dataError(code: string, step: StartStep & { kind: 'data' }, cause: unknown): StartError | undefined {
  const { flag, path } = step;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'disk-full':
      return new StartError(
        'disk-full',
        `no space is left for the data folder ${path}`,
        `Free some, or choose another disk with ${flag} DIR`,
        { cause },
      );
    case 'LEVEL_LOCKED':
    case 'STATE_LOCKED':
      return new StartError(
        'data-locked',
        `the data folder ${path} is in use by another shoal process`,
        `Stop that one or choose another folder with ${flag} DIR`,
        { cause },
      );
    case 'LEVEL_CORRUPTION':
      return new StartError(
        'data-damaged',
        `the index in the data folder ${path} is damaged`,
        `Choose another folder with ${flag} DIR, or remove this one`,
        { cause },
      );
    default: {
      const why = UNWRITABLE.get(code);
      if (why === undefined) return undefined;
      const hint = `Make it a folder that this user owns, or choose another with ${flag} DIR`;
      return new StartError('data-unwritable', `the data folder ${path} ${why}`, hint, { cause });
    }
  }
}

/** LevelDB and libp2p put the system's words into a message instead of its error number into a code. */
const WORDS: readonly [RegExp, string][] = [
  [/EADDRINUSE|address already in use/i, 'EADDRINUSE'],
  [/EADDRNOTAVAIL|cannot assign requested address/i, 'EADDRNOTAVAIL'],
  [/no space left on device|disk quota exceeded/i, 'ENOSPC'],
  [/permission denied|operation not permitted/i, 'EACCES'],
  [/read-only file system/i, 'EROFS'],
  [/lock .*(unavailable|already held)|LOCK: /i, 'LEVEL_LOCKED'],
  [/not a directory/i, 'ENOTDIR'],
];

function fromWords(message: string, step: StartStep, cause: unknown): StartError | undefined {
  const code = WORDS.find(([words]) => words.test(message))?.[1];
  return code === undefined ? undefined : namedError(code, step, cause);
}

function portOf(address: HostPort | string): string {
  return typeof address === 'string' ? shown(address) : `port ${address.port} on ${address.host}`;
}

/** The system does not say at which of them it failed. */
function isSeveral(address: HostPort | string): boolean {
  return typeof address === 'string' && address.includes(', ');
}

function shown(address: HostPort | string): string {
  if (typeof address === 'string') return isSeveral(address) ? `one of ${address}` : address;
  return hostAndPort(address.host, address.port);
}

const MAX_DETAIL_LENGTH = 300;

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, MAX_DETAIL_LENGTH);
}
