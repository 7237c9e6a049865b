/**
 * `shoal setup RUNTIME`: plan (read) → show, or write with a journal → prove by a pull. Nothing is written before everything
 * that would be written is known and checked.
 */
import { join } from 'node:path';
import { Argument, type Command } from 'commander';
import { createTwoFilesPatch } from 'diff';
import type { CliIo } from '../cli-io.ts';
import { CommandFailure } from '../command-failure.ts';
import { agentSettings } from '../settings/agent-settings.ts';
import { parseHostPort } from '../settings/host-port.ts';
import { defaultTextOf } from '../settings/setting.ts';
import { Journalled, type UndoneFile } from './apply.ts';
import { machineFiles } from './files.ts';
import { type FileChange, type MirrorAddress, type SetupOptions, type SetupPlan, SetupProblem } from './plan.ts';
import { type ProbeResult, runProbe } from './probe.ts';
import { RUNTIMES, type Runtime } from './runtimes.ts';

const PROGRAM = 'shoal setup';
const DEFAULT_MIRROR = `http://${defaultTextOf(agentSettings, 'mirror')}`;
const DEFAULT_ADMIN = defaultTextOf(agentSettings, 'admin');
/** Root's alone; not below the agent's data, which belongs to the agent. */
const DEFAULT_JOURNAL_DIR = '/var/lib/shoal-setup';

interface Flags {
  mirror: string;
  admin: string;
  configFile?: string;
  registriesDir?: string;
  registry: string[];
  journal: string;
  image?: string;
  probe: boolean;
  dryRun: boolean;
  undo: boolean;
  force: boolean;
  replace: boolean;
  json: boolean;
}

const MORE = `
The registries stay the runtime's fallback: with the agent stopped, everything is pulled as before. What a file held before is
kept in /var/lib/shoal-setup, and --undo restores it byte for byte. Nothing is restarted; what has to be is told.

Examples:
  shoal setup containerd --dry-run     shows what would change
  shoal setup containerd               changes it, and proves it by a pull
  shoal setup crio --registry registry.example.com
  shoal setup docker --undo
`;

export function registerSetup(program: Command, io: CliIo): void {
  const names = Object.keys(RUNTIMES);
  program
    .command('setup')
    .usage('RUNTIME [FLAGS]')
    .summary("write the container runtime's own configuration, or take it back")
    .description("Points a container runtime at the agent's mirror, in the runtime's own configuration files.")
    .addArgument(new Argument('<RUNTIME>', 'the container runtime').choices(names))
    .option('--dry-run', 'show what would change, as a diff, and change nothing', false)
    .option('--undo', 'restore the files as they were', false)
    .option('--force', 'with --undo: also files that were changed since', false)
    .option('--replace', 'take an earlier set-up with another mirror or other folders back first', false)
    .option('--mirror <URL>', "the agent's mirror, as the runtime reaches it", DEFAULT_MIRROR)
    .option(
      '--registry <HOST>',
      'a further registry, where the runtime cannot be told all; may be repeated',
      append,
      [],
    )
    .option('--config-file <FILE>', "the runtime's configuration, where it is not in its usual place")
    .option('--registries-dir <DIR>', "the runtime's folder of registries (certs.d, registries.conf.d), likewise")
    .option('--journal <DIR>', 'where what the files held before is kept, for --undo', DEFAULT_JOURNAL_DIR)
    .option('--no-probe', 'do not pull an image to prove it')
    .option('--image <REF>', 'the image to prove it with (default: a small public one)')
    .option('--admin <HOST:PORT>', "the agent's admin address, to see that the pull went through it", DEFAULT_ADMIN)
    .option('--json', 'print the result as JSON', false)
    .addHelpText('after', MORE)
    .action(async (name: string, flags: Flags, command: Command) => {
      try {
        await setUp(name, RUNTIMES[name] as Runtime, flags, againWith(name, command), io);
      } catch (error) {
        if (error instanceof SetupProblem)
          throw new CommandFailure(`${PROGRAM} ${name}: ${error.message}`, 1, { cause: error });
        throw error;
      }
    });
}

async function setUp(name: string, runtime: Runtime, flags: Flags, again: string, io: CliIo): Promise<void> {
  const journal = new Journalled(join(flags.journal, `${runtime.journal ?? name}.json`));
  if (flags.undo) {
    const files = await journal.undo(flags.force);
    io.stdout.write(flags.json ? `${JSON.stringify({ runtime: name, files })}\n` : undoneText(runtime, files));
    return;
  }
  const options = optionsOf(flags);
  const { mirror, configFile = '', registriesDir = '' } = options;
  const settings = { mirror: mirror.url, configFile, registriesDir };
  if (flags.replace && !flags.dryRun) await journal.undoOther(settings);
  const registries = [...new Set([...(await journal.earlierRegistries(settings)), ...options.registries])];
  const plan = await runtime.plan({ ...options, registries }, machineFiles);
  if (flags.dryRun) {
    io.stdout.write(flags.json ? jsonOf(name, plan) : `${plan.changes.map(diffOf).join('')}${summary(plan, false)}`);
    return;
  }
  await journal.apply(plan.changes, settings, registries);
  const probe = flags.probe && plan.reload === undefined ? await prove(runtime, flags) : undefined;
  io.stdout.write(flags.json ? jsonOf(name, plan, probe) : `${summary(plan, true)}${probeText(again, plan, probe)}`);
  if (probe?.proven === false) throw new CommandFailure(`${PROGRAM} ${name}: not proven: ${probe.why}`, 1);
}

/** The same command line, to be copied. */
function againWith(name: string, command: Command): string {
  const words = command.options.flatMap((option) => {
    const key = option.attributeName();
    if (command.getOptionValueSource(key) !== 'cli' || option.long === '--json') return [];
    const value: unknown = command.getOptionValue(key);
    if (typeof value === 'boolean') return option.long === '--no-probe' && value ? [] : [option.long ?? ''];
    return [value].flat().flatMap((one) => [option.long ?? '', shellWord(String(one))]);
  });
  return [PROGRAM, name, ...words].join(' ');
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function optionsOf({ mirror, configFile, registriesDir, registry }: Flags): SetupOptions {
  return { mirror: mirrorOf(mirror), configFile, registriesDir, registries: registry };
}

function mirrorOf(text: string): MirrorAddress {
  const url = URL.parse(text);
  const isPlain = url?.protocol === 'http:' && url.pathname === '/' && url.search === '' && url.username === '';
  if (url === null || !isPlain || parseHostPort(url.host) === undefined) {
    throw new CommandFailure(
      `${PROGRAM}: --mirror ${JSON.stringify(text)} is not a mirror's address; write it like ${DEFAULT_MIRROR}`,
      2,
    );
  }
  return { url: `http://${url.host}`, host: url.host };
}

async function prove({ probe }: Runtime, flags: Flags): Promise<ProbeResult | undefined> {
  return probe === undefined ? undefined : await runProbe(probe(flags), flags.admin);
}

function diffOf({ path, before, after }: FileChange): string {
  const patch = createTwoFilesPatch(before === undefined ? '/dev/null' : path, path, before ?? '', after);
  return patch.replace(/^(Index: .*\n)?=+\n/, '');
}

function summary({ changes, notes }: SetupPlan, isDone: boolean): string {
  const verb = (change: FileChange): string => {
    if (isDone) return change.before === undefined ? 'made    ' : 'changed ';
    return change.before === undefined ? 'would make  ' : 'would change';
  };
  const lines = changes.map((change) => `${verb(change)}  ${change.path}\n`);
  if (lines.length === 0) lines.push('Everything is as it should be; no file was changed.\n');
  return [...lines, ...notes.map((note) => `note: ${note}\n`)].join('');
}

function probeText(again: string, { reload }: SetupPlan, probe: ProbeResult | undefined): string {
  if (reload !== undefined) return `Now: ${reload}\nThen: ${again}   (again, to prove it by a pull)\n`;
  if (probe?.proven === true) return `Proven: ${probe.command} went through the agent (${probe.requests} requests).\n`;
  return '';
}

function undoneText({ restart }: Runtime, files: readonly UndoneFile[]): string {
  if (files.length === 0) return 'Nothing to undo.\n';
  return `${files.map(({ path, change }) => `${change.padEnd(8)}  ${path}\n`).join('')}Now: ${restart}\n`;
}

function jsonOf(runtime: string, { changes, reload, notes }: SetupPlan, probe?: ProbeResult): string {
  const files = changes.map(({ path, before }) => ({ path, change: before === undefined ? 'made' : 'changed' }));
  return `${JSON.stringify({ runtime, files, reload: reload ?? null, notes, probe: probe ?? null })}\n`;
}

function append(value: string, earlier: readonly string[]): string[] {
  return [...earlier, value];
}
