import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Journalled } from './apply.ts';

let root: string;
let journal: Journalled;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'shoal-setup-'));
  journal = new Journalled(join(root, 'data', 'setup', 'x.json'));
});
afterEach(() => rm(root, { recursive: true }));

const at = (name: string) => join(root, name);
const change = (name: string, before: string | undefined, after: string) => ({ path: at(name), before, after });

test('undo restores bytes and modes, and removes what was made, folders included', async () => {
  const odd = Buffer.from([0xff, 0x00, 0x0a]);
  await writeFile(at('a.conf'), odd);
  await chmod(at('a.conf'), 0o640);
  await mkdir(at('etc'));
  await journal.apply([change('a.conf', '?', 'new'), change('etc/certs.d/_default/hosts.toml', undefined, 'made')]);
  expect(await readFile(at('a.conf'), 'utf8')).toBe('new');
  expect((await stat(at('a.conf'))).mode & 0o777).toBe(0o640);
  await journal.apply([change('a.conf', 'new', 'newer')]);
  expect(await journal.undo(false)).toEqual([
    { path: at('a.conf'), change: 'restored' },
    { path: at('etc/certs.d/_default/hosts.toml'), change: 'removed' },
  ]);
  expect(await readFile(at('a.conf'))).toEqual(odd);
  expect((await stat(at('a.conf'))).mode & 0o777).toBe(0o640);
  expect(await readdir(at('etc'))).toEqual([]);
  expect(await journal.undo(false)).toEqual([]);
});

test('a file that was changed since is not touched, nor any other, unless forced', async () => {
  await writeFile(at('a'), 'a');
  await journal.apply([change('a', 'a', 'ours'), change('b', undefined, 'ours')]);
  await writeFile(at('b'), 'edited');
  await expect(journal.undo(false)).rejects.toThrow(`${at('b')} was changed since`);
  expect(await readFile(at('a'), 'utf8')).toBe('ours');
  await journal.undo(true);
  expect(await readdir(root)).toEqual(['a', 'data']);
  expect(await readFile(at('a'), 'utf8')).toBe('a');
});

test('a folder that somebody else uses meanwhile stays', async () => {
  await journal.apply([change('certs.d/_default/hosts.toml', undefined, 'ours')]);
  await writeFile(at('certs.d/other'), 'theirs');
  await journal.undo(false);
  expect(await readdir(at('certs.d'))).toEqual(['other']);
});

test('a link stays a link', async () => {
  await writeFile(at('real'), 'a');
  await symlink(at('real'), at('link'));
  await journal.apply([change('link', 'a', 'ours')]);
  expect(await readFile(at('real'), 'utf8')).toBe('ours');
  await journal.undo(false);
  expect([await readFile(at('real'), 'utf8'), (await readdir(root)).sort()]).toEqual(['a', ['data', 'link', 'real']]);
});

test('when a file cannot be written, those before it are as they were, and there is nothing to undo', async () => {
  await writeFile(at('a'), 'a');
  await writeFile(at('file'), '');
  const changes = [change('a', 'a', 'ours'), change('file/below', undefined, 'x')];
  await expect(journal.apply(changes)).rejects.toThrow(/cannot be written/);
  expect(await readFile(at('a'), 'utf8')).toBe('a');
  expect(await journal.undo(false)).toEqual([]);
});

test('a damaged journal is told of', async () => {
  await mkdir(at('data/setup'), { recursive: true });
  await writeFile(at('data/setup/x.json'), '{');
  await expect(journal.undo(false)).rejects.toThrow('is damaged');
});
