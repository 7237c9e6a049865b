/** Every command that a document tells people to type is run by a test. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { commandsIn, commandsOfDocuments } from '../support/document-commands.ts';
import { documentRuns } from '../support/document-runs.ts';

const ROOT = join(import.meta.dirname, '../..');
/** A line of a block that is no command's begins with none of these. */
const PROGRAMS = [
  'shoal',
  'npx',
  'npm',
  'pnpm',
  'node',
  'sudo',
  'curl',
  'wget',
  'docker',
  'podman',
  'skopeo',
  'ctr',
  'crictl',
  'nerdctl',
  'systemctl',
  'journalctl',
  'kubectl',
  'helm',
  'kind',
  'ssh',
  'scp',
  'git',
  'mkdir',
  'cp',
];
const COMMAND_LINE = new RegExp(String.raw`^\s*(?:[$#] +)?(?:\w+=\S+ +)*(?:${PROGRAMS.join('|')}) \S`);

const { commands, unmarked } = await commandsOfDocuments();

test('every command has somebody who runs it', () => {
  const homeless = commands.filter(({ command }) => documentRuns[command] === undefined);
  expect(homeless.map(({ document, line, command }) => `${document}:${line}: ${command}`)).toEqual([]);
  const shown = new Set(commands.map(({ command }) => command));
  expect(Object.keys(documentRuns).filter((command) => !shown.has(command))).toEqual([]);
});

test('no command hides in a block that is not marked as one of commands', () => {
  const hidden = unmarked.filter(({ text }) => COMMAND_LINE.test(text) && !/^shoal(?: [a-z-]+)*: /.test(text));
  expect(hidden.map(({ document, line, text }) => `${document}:${line}: ${text}`)).toEqual([]);
});

test('the tests that are named run what they are named for', async () => {
  for (const [command, how] of Object.entries(documentRuns)) {
    if (how.by === 'a test') expect(await readFile(join(ROOT, how.file), 'utf8'), command).toContain(how.says);
  }
});

test('most commands are walked, and CI runs what runs the tests alone', () => {
  const by = Object.groupBy(Object.values(documentRuns), (how) => how.by);
  const count = (who: keyof typeof by): number => by[who]?.length ?? 0;
  process.stdout.write(
    `Commands in documents: ${count('a walk')} walked, ${count('a test')} in other tests, ${count('CI')} by CI itself\n`,
  );
  expect(count('a walk')).toBeGreaterThan(40);
  expect(Object.keys(documentRuns).filter((command) => documentRuns[command]?.by === 'CI')).toEqual(['bash .ci/run']);
});

test('commands are found as documents have them', () => {
  const markdown = [
    '```sh',
    'shoal cache ls    # what is there',
    'shoal agent --zone b \\',
    '  --data /srv/shoal',
    '# a remark',
    '```',
    '```console',
    '$ shoal status',
    'agent    Shoal 0.1.0',
    '```',
    '```',
    'curl -s 127.0.0.1',
    '```',
    '```yaml',
    'zone: a',
    '```',
  ].join('\n');
  const found = commandsIn('a.md', markdown);
  expect(found.commands.map(({ command, line }) => [command, line])).toEqual([
    ['shoal cache ls', 2],
    ['shoal agent --zone b   --data /srv/shoal', 4],
    ['shoal status', 8],
  ]);
  expect(found.unmarked).toEqual([{ document: 'a.md', line: 12, text: 'curl -s 127.0.0.1' }]);
});
