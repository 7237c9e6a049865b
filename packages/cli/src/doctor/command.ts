/**
 * `shoal doctor`: asks the agent for facts, or finds them out without it, has every check judge them, and tells what to do.
 *
 *   agent answers ──► its facts ─┐
 *   nobody does ────► settings ──┴─► checks, side by side ──► list or JSON; exit code 1 when one fails
 *
 * It changes nothing. A file is written to the data folder and removed, to see that it can be.
 */
import { existsSync, readFileSync } from 'node:fs';
import type { AgentConfig } from '@shoal/agent';
import { normaliseRegistryHost } from '@shoal/oci';
import { hostAndPort, reachableHost } from '@shoal/process/addresses';
import type { Command } from 'commander';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import type { Programs } from '../run/programs.ts';
import { addSettings, flagValues } from '../setting-options.ts';
import { agentSettings } from '../settings/agent-settings.ts';
import { closest } from '../settings/closest.ts';
import { type Resolved, resolveSettings } from '../settings/resolve.ts';
import { defaultTextOf } from '../settings/setting.ts';
import type { FlagValues } from '../settings/written.ts';
import { CHECK_NAMES, type Examination, runChecks } from './checks.ts';
import { reportText } from './report.ts';
import { absentSubject, askAgent, runningSubject } from './subject.ts';

const PROGRAM = 'shoal doctor';
/** Where the systemd unit has the agent's settings. */
const INSTALLED_CONFIG = '/etc/shoal/agent.yaml';
/** Which the unit hands to the agent as a credential. */
const INSTALLED_TOKEN = '/etc/shoal/join-token';
/** Those that matter to a check; the others are read from the file and the environment. */
const SHOWN_SETTINGS: ReadonlySet<string> = new Set([
  'mirror',
  'tracker',
  'join-token',
  'peer-listen',
  'admin',
  'data',
  'cache-size',
  'min-free-disk',
  'docker-config',
  'allow-registry',
]);

const MORE = `
While an agent answers at --admin it is asked, and the settings only say where it is. While none does, the checks use the settings
that the agent would start with: flags, SHOAL_* variables, --config, or /etc/shoal/agent.yaml where it exists.

Checks: ${CHECK_NAMES.join(', ')}.
Exit code: 0 nothing is wrong (there may be something to look at), 1 something is, 2 wrong usage.

Examples:
  shoal doctor
  shoal doctor --registry docker.io --registry ghcr.io
  shoal doctor --only tracker,peers --json
  shoal doctor --config /etc/shoal/agent.yaml     before the first start
`;

export function registerDoctor(program: Command, io: CliIo, programs: Programs): void {
  const command = program
    .command('doctor')
    .usage('[FLAGS]')
    .summary('check everything that a pull needs, and say what to do')
    .description(
      'Checks the agent on this machine and all that it needs: ports, mirror, runtimes, tracker, clock, membership, peers,\n' +
        'disk, registries. Of what is wrong it says what to do. It works without a running agent, too. It changes nothing.',
    )
    .option(
      '--registry <HOST>',
      'a registry to check, beside those configured; HOST=URL configures it; may be repeated',
      append,
    )
    .option('--only <NAME,...>', `these checks alone: ${CHECK_NAMES.join(', ')}`)
    .option('--json', 'print a line of JSON instead', false);
  addSettings(
    command,
    agentSettings.filter(({ key }) => SHOWN_SETTINGS.has(key)),
  );
  command
    .addHelpText('after', MORE)
    .action((options: DoctorOptions) => examine(options, flagValues(command), io, programs));
}

interface DoctorOptions {
  readonly registry?: readonly string[];
  readonly only?: string;
  readonly json: boolean;
}

async function examine(options: DoctorOptions, given: FlagValues, io: CliIo, programs: Programs): Promise<void> {
  const names = namesOf(options.only);
  const { registry: named = [] } = options;
  const registries = named.map(hostOf);
  const { only: _only, registry: _registry, ...settingFlags } = given;
  const configured = named.filter((text) => text.includes('='));
  const flags = { ...settingFlags, ...(configured.length > 0 && { registry: configured }) };
  const stopped = new AbortController();
  const stopListening = io.onSignal(() => stopped.abort(new CommandFailure(`${PROGRAM}: stopped before it was done`)));
  const { signal } = stopped;
  try {
    const agent = await programs.agent();
    const settingsFile = fileOf(flags, io);
    const sources = { program: PROGRAM, flags: asInstalled(flags, settingsFile, io), env: io.env };
    const settings = readSettings(() => resolveSettings(agentSettings, agent.agentConfigSchema, sources));
    const admin = adminOf(flags, settings);
    const answer = await askAgent(admin, signal);
    signal.throwIfAborted();
    const subject =
      answer.is === 'agent'
        ? runningSubject(answer.facts, admin, signal)
        : 'config' in settings
          ? absentSubject(settings.config, { agent, clock: Date.now, signal })
          : undefined;
    const examination: Examination = {
      admin,
      answer,
      settings: 'config' in settings ? await withDockerConfigs(settings, agent) : settings,
      settingsFile,
      subject,
      registries,
      searchPath: io.env.PATH,
      accepts: (host, port) => agent.accepts(host, port, signal),
      clock: Date.now,
      signal,
    };
    const findings = await runChecks(examination, names).finally(() => subject?.close());
    const isWell = findings.every(({ state }) => state !== 'fail');
    if (options.json) {
      io.stdout.write(`${JSON.stringify({ ok: isWell, agent: answer.is === 'agent', admin, checks: findings })}\n`);
    } else {
      const head =
        answer.is === 'agent'
          ? `The agent at ${admin}:`
          : `No agent answers at ${admin}. What can be checked without one:`;
      io.stdout.write(`${head}\n\n${reportText(findings, io.stdout)}`);
    }
    // Everything has been told.
    if (!isWell) throw new CommandFailure([]);
  } finally {
    stopListening();
  }
}

/** As the systemd unit starts the agent, where nothing else is said. */
function asInstalled(flags: FlagValues, file: string | undefined, { env }: CliIo): FlagValues {
  if (file === undefined) return flags;
  const isTold = flags['join-token'] !== undefined || env.SHOAL_JOIN_TOKEN !== undefined;
  const isInstalled = file === INSTALLED_CONFIG && existsSync(INSTALLED_TOKEN) && !isTold && !namesToken(file);
  return { ...flags, config: file, ...(isInstalled && { 'join-token': `@${INSTALLED_TOKEN}` }) };
}

function namesToken(file: string): boolean {
  try {
    return /^["']?join-token["']?\s*:/m.test(readFileSync(file, 'utf8'));
  } catch {
    // Told when it is read for its settings.
    return true;
  }
}

function readSettings(read: () => Resolved<AgentConfig>): Resolved<AgentConfig> | CommandFailure {
  try {
    return read();
  } catch (error) {
    if (error instanceof CommandFailure) return error;
    throw error;
  }
}

/** As the start of the agent looks at them. */
async function withDockerConfigs(
  settings: Resolved<AgentConfig>,
  { dockerConfigProblem }: Awaited<ReturnType<Programs['agent']>>,
): Promise<Resolved<AgentConfig> | CommandFailure> {
  for (const path of settings.config.dockerConfigs) {
    const problem = await dockerConfigProblem(path);
    if (problem !== undefined) return new CommandFailure(`docker-config ${JSON.stringify(path)} ${problem}`);
  }
  return settings;
}

/** A flag counts even while the rest cannot be read. */
function adminOf(flags: FlagValues, settings: Resolved<AgentConfig> | CommandFailure): string {
  if (typeof flags.admin === 'string') return flags.admin;
  if (!('config' in settings)) return defaultTextOf(agentSettings, 'admin');
  const { host, port } = settings.config.admin;
  return hostAndPort(reachableHost(host), port);
}

function fileOf({ config }: FlagValues, { env }: CliIo): string | undefined {
  if (typeof config === 'string') return config;
  if (env.SHOAL_CONFIG !== undefined && env.SHOAL_CONFIG !== '') return env.SHOAL_CONFIG;
  return existsSync(INSTALLED_CONFIG) ? INSTALLED_CONFIG : undefined;
}

function namesOf(only: string | undefined): readonly string[] {
  if (only === undefined) return CHECK_NAMES;
  const names = only.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !CHECK_NAMES.includes(name));
  if (unknown === undefined) return CHECK_NAMES.filter((name) => names.includes(name));
  const near = closest(unknown, CHECK_NAMES);
  const advice = near === undefined ? `the checks are ${CHECK_NAMES.join(', ')}` : `did you mean ${near}?`;
  throw new CommandFailure(`${PROGRAM}: --only ${JSON.stringify(unknown)} is no check; ${advice}`, 2);
}

function hostOf(text: string): string {
  const [name = ''] = text.split('=');
  const host = normaliseRegistryHost(name);
  if (host !== undefined) return host;
  throw new CommandFailure(
    `${PROGRAM}: --registry ${JSON.stringify(name)} is not a registry host; an example: ghcr.io`,
    2,
  );
}

function append(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
