/** Every check by the name that `--only` takes, in the order in which they are told. They run side by side, each with a deadline. */
import type { CommandFailure } from '../command-failure.ts';
import { agentSettings } from '../settings/agent-settings.ts';
import { defaultTextOf } from '../settings/setting.ts';
import { machineFiles } from '../setup/files.ts';
import { type AgentAnswer, checkAgent } from './agent.ts';
import { checkClock } from './clock.ts';
import { checkContent } from './content.ts';
import { checkDisk } from './disk.ts';
import { type Finding, named } from './finding.ts';
import { earlierRegistries, isInstalled, listenObstacle, pingMirror } from './machine.ts';
import { checkMembership } from './membership.ts';
import { checkMirror } from './mirror.ts';
import { checkOrigin } from './origin.ts';
import { checkPeers } from './peers.ts';
import { portOwner } from './port-owner.ts';
import { checkPorts } from './ports.ts';
import { checkRuntimes } from './runtimes.ts';
import { checkSettings } from './settings.ts';
import type { Subject } from './subject.ts';
import { checkTracker } from './tracker.ts';

const WITHIN_MS = 15_000;
/** Of registries; more are left to --registry. */
const MAX_ORIGINS = 16;
const DEFAULT_MIRROR = defaultTextOf(agentSettings, 'mirror');
const UNREADABLE = 'the settings cannot be read, see above';

export interface Examination {
  readonly admin: string;
  readonly answer: AgentAnswer;
  readonly settings: CommandFailure | { warnings: readonly string[] };
  readonly settingsFile: string | undefined;
  /** Undefined: no agent answers, and the settings cannot be read. */
  readonly subject: Subject | undefined;
  /** Registries asked for by name. */
  readonly registries: readonly string[];
  readonly searchPath: string | undefined;
  readonly accepts: (host: string, port: number) => Promise<boolean>;
  readonly clock: () => number;
  readonly signal: AbortSignal;
}

type Check = (examination: Examination) => Promise<readonly Finding[]>;

/** A check of what only a subject has. */
function ofSubject(
  name: string,
  check: (subject: Subject, examination: Examination) => Promise<Finding | readonly Finding[]>,
): Check {
  return async (examination) =>
    examination.subject === undefined
      ? [named(name).skip(UNREADABLE)]
      : [await check(examination.subject, examination)].flat();
}

const CHECKS: Readonly<Record<string, Check>> = {
  agent: async ({ answer, admin }) => [checkAgent(answer, admin)],
  settings: async ({ settings, settingsFile }) => [checkSettings(settings, settingsFile)],
  ports: ofSubject('ports', ({ ports, facts }, { accepts }) =>
    checkPorts(ports, facts !== undefined, { accepts, obstacle: listenObstacle, owner: portOwner }),
  ),
  mirror: ofSubject('mirror', async ({ facts, mirror, registries }, { signal }) =>
    facts === undefined
      ? named('mirror').skip('no agent runs')
      : await checkMirror({ mirror, registries }, (url) => pingMirror(url, signal)),
  ),
  // Files that need no settings to be looked at.
  runtime: ({ subject, searchPath }) =>
    checkRuntimes((subject?.mirror ?? DEFAULT_MIRROR).replace(/^(0\.0\.0\.0|\[::\]):/, '127.0.0.1:'), {
      files: machineFiles,
      isInstalled: (program) => isInstalled(program, searchPath),
      earlierRegistries,
    }),
  // Nothing to say of an agent that was told of no containerd.
  content: ofSubject('content', async ({ facts }) =>
    facts?.containerd === undefined ? [] : [checkContent(facts.containerd)],
  ),
  tracker: ofSubject('tracker', async (subject) => checkTracker(await subject.trackers())),
  clock: ofSubject('clock', async (subject) => checkClock(await subject.trackers())),
  membership: ofSubject('membership', async ({ facts }, { clock }) => checkMembership(facts, clock())),
  peers: ofSubject('peers', async ({ facts }) => checkPeers(facts)),
  disk: ofSubject('disk', async (subject) => checkDisk(await subject.data())),
  origin: ofSubject('origin', async (subject, { registries }) => {
    const all = [...new Set([...registries, ...subject.registries.map(({ registry }) => registry)])];
    const configured = new Map(subject.registries.map(({ registry, url }) => [registry, url]));
    const { skip } = named('origin');
    if (all.length === 0) return skip('no registry is configured; to check one: shoal doctor --registry docker.io');
    const asked = all.slice(0, MAX_ORIGINS);
    const findings = await Promise.all(
      asked.map(async (registry) =>
        checkOrigin({ url: configured.get(registry), ...(await subject.registry(registry)) }),
      ),
    );
    const left = all.slice(MAX_ORIGINS);
    return left.length === 0
      ? findings
      : [...findings, skip(`${left.length} more registries; to check one: --registry ${left[0]}`)];
  }),
};

export const CHECK_NAMES: readonly string[] = Object.keys(CHECKS);

/** @throws the reason when it is told to stop */
export async function runChecks(
  examination: Examination,
  names: readonly string[],
  withinMs: number = WITHIN_MS,
): Promise<Finding[]> {
  const { signal } = examination;
  const findings = await Promise.all(
    names.flatMap((name) => {
      const check = CHECKS[name];
      return check === undefined ? [] : [inTime(name, check(examination), withinMs, signal)];
    }),
  );
  signal.throwIfAborted();
  return findings.flat();
}

async function inTime(
  name: string,
  check: Promise<readonly Finding[]>,
  withinMs: number,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const deadline = new AbortController();
  const timer = setTimeout(() => deadline.abort(), withinMs);
  const either = AbortSignal.any([deadline.signal, signal]);
  const late = new Promise<readonly Finding[]>((resolve) => {
    const tell = (): void =>
      resolve([
        named(name).fail(`took longer than ${withinMs / 1_000} s`, `try it alone: shoal doctor --only ${name}`),
      ]);
    either.addEventListener('abort', tell, { once: true });
  });
  try {
    return await Promise.race([check, late]);
  } catch (error) {
    if (signal.aborted) return [];
    const why = error instanceof Error ? error.message : String(error);
    return [named(name).fail(`could not be checked: ${why}`, `try it alone: shoal doctor --only ${name}`)];
  } finally {
    clearTimeout(timer);
  }
}
