// Command lines of `shoal` as documents and help show them, and whether the command would take them. Nothing is run.
import { type CliIo, shoalProgram } from '@shoal/cli';

export interface CommandLine {
  line: number;
  /** What follows `shoal`. */
  args: string[];
  /** A line to be typed as it stands; otherwise the command is only named, and what it needs may be left out. */
  isWhole: boolean;
}

type ShoalCommand = ReturnType<typeof shoalProgram>;

const PROMPT = /^\s*(?:[$#] +)?(?:\w+=\S+ +)*(?:sudo +)?/;
/** The command by its name, by the checkout's scripts, and where it is installed. */
const COMMAND =
  /^(?:shoal|npx -y pnpm@\S+ (?:--silent )?(?:shoal(?= )|(?=demo))|.*\/dist\/main\.js)(?: +|(?=demo))(\S.*)$/;
/** `shoal cache rm: IMAGE is pinned`: what the command said. */
const COMPLAINT = /^shoal(?: [a-z-]+)*: /;
const MISSING = [
  'commander.help',
  'commander.missingArgument',
  'commander.missingMandatoryOptionValue',
  'commander.optionMissingArgument',
];
const ASKED_FOR = ['commander.helpDisplayed', 'commander.version'];

/** Out of Markdown: lines of fenced blocks, and code within lines. */
export function commandLinesIn(markdown: string): CommandLine[] {
  const found: CommandLine[] = [];
  let isFenced = false;
  let begun = '';
  for (const [index, text] of markdown.split('\n').entries()) {
    if (/^\s*```/.test(text)) {
      isFenced = !isFenced;
      continue;
    }
    const line = index + 1;
    if (isFenced) {
      begun += text.replace(/\\$/, ' ');
      if (text.endsWith('\\')) continue;
      for (const part of begun.split(/ (?:&&|\|\|?|;) /)) {
        const args = argsOf(part.replace(PROMPT, ''));
        if (args.length > 0) found.push({ line, args, isWhole: true });
      }
      begun = '';
    } else {
      for (const [, code = ''] of text.replaceAll('\\|', '|').matchAll(/`([^`]+)`/g)) {
        const args = argsOf(code);
        if (args.length > 0) found.push({ line, args, isWhole: false });
      }
    }
  }
  return found;
}

/** Out of help: lines that begin with the command; what stands apart from it explains it. */
export function commandLinesInHelp(help: string): CommandLine[] {
  return help.split('\n').flatMap((text, index) => {
    const [shown = ''] = text.trim().split(/ {2,}/);
    const args = argsOf(shown);
    return args.length === 0 ? [] : [{ line: index + 1, args, isWhole: false }];
  });
}

/** None when it is no command line of ours. A placeholder for more of the same is left out. */
function argsOf(text: string): string[] {
  const given = COMPLAINT.test(text) ? undefined : COMMAND.exec(text)?.[1];
  if (given === undefined) return [];
  const [withoutRemark = ''] = given.split(/(?:^| )(?:#|>) /);
  const words = withoutRemark.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  return words.filter((word) => word !== '…').map((word) => word.replaceAll(/["']/g, ''));
}

/** Why the command would not take this line, whatever the values. */
export async function problemOf({ args, isWhole }: CommandLine): Promise<string | undefined> {
  const program = shoalProgram(silentIo());
  parseOnly(program);
  try {
    await program.parseAsync(args, { from: 'user' });
    return undefined;
  } catch (error) {
    const { code = '', message } = error as Error & { code?: string };
    if (ASKED_FOR.includes(code) || (!isWhole && MISSING.includes(code))) return undefined;
    return message;
  }
}

/** Every command's path, the program's own included as an empty one. */
export function commandPaths(): string[][] {
  const below = (command: ShoalCommand, path: string[]): string[][] => [
    path,
    ...command.commands.flatMap((one) => below(one, [...path, one.name()])),
  ];
  return below(shoalProgram(silentIo()), []);
}

/** Documents may name any value, and nothing is to happen. */
function parseOnly(command: ShoalCommand): void {
  if (command.commands.length === 0 || command.registeredArguments.length > 0) command.action(() => undefined);
  for (const option of command.options) option.argParser((value) => value);
  for (const argument of command.registeredArguments) argument.argParser((value) => value);
  for (const one of command.commands) parseOnly(one);
}

export function silentIo(output: (text: string) => void = () => undefined): CliIo {
  const listen = (): (() => void) => () => undefined;
  return {
    env: {},
    stdout: { write: output },
    stderr: { write: () => undefined },
    onSignal: listen,
    onReload: listen,
    exit: () => undefined,
  };
}
