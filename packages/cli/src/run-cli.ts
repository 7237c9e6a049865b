/**
 * The `shoal` command: argv in, exit code out (0 done, 1 failed, 2 wrong usage). Whatever goes wrong is told on stderr, one
 * line each: which command, what is wrong, what to do.
 */
import { Command, CommanderError } from 'commander';
import { registerAgent } from './agent-command.ts';
import type { CliIo } from './cli-io.ts';
import { CommandFailure, oneLine } from './command-failure.ts';
import { registerDemo } from './demo/command.ts';
import { type Programs, realPrograms } from './run/programs.ts';
import { registerTracker } from './tracker-command.ts';
import { version } from './version.ts';

const HELP_WIDTH = 120;

const INTRODUCTION = `Shoal lets the machines of a cluster pull container images from each other, so that the registry is read once.

  shoal demo      shows it on this machine, with nothing to set up
  shoal tracker   runs once per cluster
  shoal agent     runs on every node; point the container runtime at its mirror`;

/** @param args what follows the program's name */
export async function runCli(args: readonly string[], io: CliIo, programs: Programs = realPrograms): Promise<number> {
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
  registerDemo(program, io);
  program.addHelpText(
    'after',
    '\nshoal COMMAND --help explains each command. Exit codes: 0 done, 1 failed, 2 wrong usage.',
  );
  const name = nameOf(program, args);
  try {
    await program.parseAsync([...args], { from: 'user' });
    return 0;
  } catch (error) {
    return tell(error, name, io);
  }
}

/** `shoal agent` when that is the command given, else `shoal`. */
function nameOf(program: Command, args: readonly string[]): string {
  const command = program.commands.find((candidate) => candidate.name() === args[0]);
  return command === undefined ? 'shoal' : `shoal ${command.name()}`;
}

function tell(error: unknown, name: string, io: CliIo): number {
  if (error instanceof CommandFailure) {
    for (const line of error.lines) io.stderr.write(`${line}\n`);
    return error.exitCode;
  }
  if (error instanceof CommanderError) {
    // Help and version were asked for; `commander.help` means that no command was given.
    if (error.exitCode === 0) return 0;
    if (error.code !== 'commander.help') io.stderr.write(`${name}: ${usageProblem(error)} See ${name} --help\n`);
    return 2;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  io.stderr.write(`${name}: this should not have happened; please report it: ${detail}\n`);
  return 1;
}

/** Commander's words, without anything that may be a secret given under a wrong name or in a wrong place. */
function usageProblem(error: CommanderError): string {
  if (error.code === 'commander.excessArguments') return 'only flags are expected, as --NAME VALUE, but there is more.';
  const sentence = oneLine(error.message)
    .replace(/^error: /, '')
    .replace(/(unknown option '[^'=]*)=.*'/, "$1'")
    .replace(/ \((Did you mean [^)]*\?)\)$/, '. $1');
  return /[.?]$/.test(sentence) ? sentence : `${sentence}.`;
}
