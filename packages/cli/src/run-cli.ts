/**
 * The `shoal` command: argv in, exit code out (0 done, 1 failed, 2 wrong usage). Whatever goes wrong is told on stderr, one
 * line each: which command, what is wrong, what to do.
 */
import { Command, CommanderError } from 'commander';
import { registerAgent } from './agent-command.ts';
import { registerBench } from './bench/command.ts';
import { registerCache } from './cache/command.ts';
import type { CliIo } from './cli-io.ts';
import { CommandFailure, oneLine } from './command-failure.ts';
import { registerDemo } from './demo/command.ts';
import { registerDoctor } from './doctor/command.ts';
import { registerForget } from './forget-command.ts';
import { registerKubernetes } from './kubernetes/command.ts';
import { withoutSecrets } from './log/without-secrets.ts';
import { registerPrefetch } from './prefetch/command.ts';
import { type Programs, realPrograms } from './run/programs.ts';
import { closest } from './settings/closest.ts';
import { registerSetup } from './setup/command.ts';
import { registerStatus } from './status-command.ts';
import { registerTracker } from './tracker-command.ts';
import { version } from './version.ts';

const HELP_WIDTH = 120;

const INTRODUCTION = `Shoal lets the machines of a cluster pull container images from each other, so that the registry is read once.

  shoal demo      shows it on this machine, with nothing to set up
  shoal tracker   runs once per cluster
  shoal agent     runs on every node; point the container runtime at its mirror
  shoal setup     points the container runtime at the agent, and takes it back
  shoal status    shows how the agent on this machine is
  shoal doctor    checks all that a pull needs, and says what to do
  shoal cache     lists, pins, removes and verifies what that agent keeps
  shoal prefetch  has nodes fetch an image before anybody pulls it
  shoal forget    has the next pull of a tag ask its registry
  shoal bench     measures what running agents save for an image`;

/** All commands and flags; nothing runs before it parses. */
export function shoalProgram(io: CliIo, programs: Programs = realPrograms): Command {
  const program = new Command('shoal');
  program
    .description(INTRODUCTION)
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'explain a command and its flags')
    .helpCommand('help [COMMAND]', 'the same as COMMAND --help')
    .usage('COMMAND [FLAGS]')
    .configureHelp({ helpWidth: HELP_WIDTH })
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      // Errors are told below; without a command, help is all there is to say.
      writeErr: (text) => void io.stderr.write(text),
      outputError: () => undefined,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride();
  registerAgent(program, io, programs);
  registerTracker(program, io, programs);
  registerSetup(program, io);
  registerStatus(program, io);
  registerDoctor(program, io, programs);
  registerCache(program, io);
  registerPrefetch(program, io);
  registerForget(program, io);
  registerBench(program, io);
  registerDemo(program, io);
  registerKubernetes(program, io, programs);
  program.addHelpText(
    'after',
    '\nshoal COMMAND --help explains each command. Exit codes: 0 done, 1 failed, 2 wrong usage.',
  );
  return program;
}

/** @param args what follows the program's name */
export async function runCli(args: readonly string[], io: CliIo, programs: Programs = realPrograms): Promise<number> {
  const program = shoalProgram(io, programs);
  const command = given(program, args);
  try {
    await program.parseAsync(withoutHelpOnNothing(program, args), { from: 'user' });
    return 0;
  } catch (error) {
    return tell(error, command, io);
  }
}

/** The command that these arguments name, or the program when they name none. */
function given(program: Command, args: readonly string[]): Command {
  let command = program;
  for (const arg of args) {
    const next = command.commands.find((candidate) => candidate.name() === arg);
    if (next === undefined) break;
    command = next;
  }
  return command;
}

/** `help NOPE` as `NOPE`, which is told to be unknown; Commander would show the help of the whole program. */
function withoutHelpOnNothing(program: Command, args: readonly string[]): string[] {
  const [first, topic = 'help'] = args;
  const isKnown = topic === 'help' || program.commands.some((command) => command.name() === topic);
  return first === 'help' && !isKnown ? [topic] : [...args];
}

/** @param command the one given, or the program when none is */
function tell(error: unknown, command: Command, io: CliIo): number {
  const names = [command.name()];
  for (let { parent } = command; parent !== null; { parent } = parent) names.unshift(parent.name());
  const name = names.join(' ');
  if (error instanceof CommandFailure) {
    for (const line of error.lines) io.stderr.write(`${line}\n`);
    return error.exitCode;
  }
  if (error instanceof CommanderError) {
    // Help and version were asked for; `commander.help` means that no command was given.
    if (error.exitCode === 0) return 0;
    if (error.code !== 'commander.help')
      io.stderr.write(`${name}: ${usageProblem(error, command)} See ${name} --help\n`);
    return 2;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  io.stderr.write(`${name}: this should not have happened; please report it: ${detail}\n`);
  return 1;
}

/** Commander's words, without anything that may be a secret given under a wrong name or in a wrong place. */
function usageProblem(error: CommanderError, command: Command): string {
  if (error.code === 'commander.excessArguments') {
    const [argument] = command.registeredArguments.map((registered) => registered.name());
    const expected = argument === undefined ? 'only flags are' : `one ${argument} and flags are`;
    return `${expected} expected, as --NAME VALUE, but there is more.`;
  }
  const flag = error.code === 'commander.unknownOption' ? /'--([^'=]*)/.exec(error.message)?.[1] : undefined;
  if (flag !== undefined) return unknownFlag(withoutSecrets(oneLine(flag)), command);
  const sentence = withoutSecrets(oneLine(error.message))
    .replace(/^error: /, '')
    .replace(/ \((Did you mean [^)]*\?)\)$/, '. $1');
  return /[.?]$/.test(sentence) ? sentence : `${sentence}.`;
}

/** Commander would compare `--mirro=x` with its value. */
function unknownFlag(flag: string, command: Command): string {
  const near = closest(
    flag,
    command.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long.slice(2)])),
  );
  return `unknown option '--${flag}'.${near === undefined ? '' : ` Did you mean --${near}?`}`;
}
