/** Every `shoal …` that a document or a help shows is one that the command takes: its commands and flags exist. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCli } from '@shoal/cli';
import { expect, test } from 'vitest';
import {
  type CommandLine,
  commandLinesIn,
  commandLinesInHelp,
  commandPaths,
  problemOf,
  silentIo,
} from '../support/command-lines.ts';

const repositoryFolder = join(import.meta.dirname, '../..');
const pages = (await readdir(join(repositoryFolder, 'docs'))).filter((name) => name.endsWith('.md'));
const documents = [
  ...['README.md', 'CONTRIBUTING.md', 'ARCHITECTURE.md', 'deploy/README.md', 'bench/README.md'],
  ...pages.map((name) => `docs/${name}`),
];

async function problemsOf(place: string, lines: readonly CommandLine[]): Promise<string[]> {
  const problems: string[] = [];
  for (const one of lines) {
    const problem = await problemOf(one);
    if (problem !== undefined) problems.push(`${place}:${one.line}: shoal ${one.args.join(' ')}: ${problem}`);
  }
  return problems;
}

test.each(documents)('%s shows no command and no flag that is not there', async (name) => {
  const lines = commandLinesIn(await readFile(join(repositoryFolder, name), 'utf8'));
  expect(await problemsOf(name, lines)).toEqual([]);
});

test('nor does the help of any command', async () => {
  let shown = 0;
  for (const path of commandPaths()) {
    let help = '';
    await runCli(
      [...path, '--help'],
      silentIo((text) => {
        help += text;
      }),
    );
    const lines = commandLinesInHelp(help);
    shown += lines.length;
    expect(await problemsOf(`${['shoal', ...path].join(' ')} --help`, lines)).toEqual([]);
  }
  expect(shown).toBeGreaterThan(20);
});

test('command lines are found where documents have them', async () => {
  const markdown = [
    'Say `shoal setup RUNTIME`, or `shoal …`, or `--json`.',
    '```',
    '$ shoal cache ls --pins | wc -l',
    'shoal cache rm: x is pinned',
    'npx -y pnpm@12.21.0 demo   # here',
    'shoal agent --zone b \\',
    '  --data /srv/shoal && shoal status',
    "ssh root@NODE '/opt/shoal/bin/node /opt/shoal/dist/main.js setup containerd'",
    '```',
  ].join('\n');
  expect(commandLinesIn(markdown).map(({ args, isWhole }) => [args.join(' '), isWhole])).toEqual([
    ['setup RUNTIME', false],
    ['cache ls --pins', true],
    ['demo', true],
    ['agent --zone b --data /srv/shoal', true],
    ['status', true],
    ['setup containerd', true],
  ]);
});

test.each([
  ['agent --no-such-flag 1', "unknown option '--no-such-flag'"],
  ['nothing', "unknown command 'nothing'"],
  ['cache nothing', "unknown command 'nothing'"],
  ['cache ls image', 'too many arguments'],
  ['setup', "missing required argument 'RUNTIME'"],
  ['prefetch IMAGE --rate', "option '--rate"],
])('shoal %s is told to be wrong', async (text, problem) => {
  expect(await problemOf({ line: 1, args: text.split(' '), isWhole: true })).toContain(problem);
});

test('values need not be real, and a command that is only named needs none', async () => {
  expect(await problemOf({ line: 1, args: ['setup', 'RUNTIME', '--mirror', 'URL'], isWhole: true })).toBeUndefined();
  expect(await problemOf({ line: 1, args: ['prefetch', '--nodes'], isWhole: false })).toBeUndefined();
});
