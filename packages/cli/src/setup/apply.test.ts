import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Journalled } from './apply.ts';
import type { FileChange } from './plan.ts';

let root: string;
let journal: Journalled;
let apply: (changes: FileChange[]) => Promise<void>;
const settings = { mirror: 'http://127.0.0.1:7300', configFile: '', registriesDir: '' };
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'shoal-setup-'));
  journal = new Journalled(join(root, 'data', 'x.json'));
  apply = (changes) => journal.apply(changes, settings, []);
});
afterEach(() => rm(root, { recursive: true }));

const at = (name: string) => join(root, name);
const change = (name: string, before: string | undefined, after: string) => ({ path: at(name), before, after });

test('undo restores bytes and modes, and removes what was made, folders included', async () => {
  const odd = Buffer.from([0xff, 0x00, 0x0a]);
  await writeFile(at('a.conf'), odd);
  await chmod(at('a.conf'), 0o640);
  await mkdir(at('etc'));
  await apply([change('a.conf', '?', 'new'), change('etc/certs.d/_default/hosts.toml', undefined, 'made')]);
  expect(await readFile(at('a.conf'), 'utf8')).toBe('new');
  expect((await stat(at('a.conf'))).mode & 0o777).toBe(0o640);
  await apply([change('a.conf', 'new', 'newer')]);
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
  await apply([change('a', 'a', 'ours'), change('b', undefined, 'ours')]);
  await writeFile(at('b'), 'edited');
  await expect(journal.undo(false)).rejects.toThrow(`${at('b')} was changed since`);
  expect(await readFile(at('a'), 'utf8')).toBe('ours');
  await journal.undo(true);
  expect(await readdir(root)).toEqual(['a', 'data']);
  expect(await readFile(at('a'), 'utf8')).toBe('a');
});

test('a folder that somebody else uses meanwhile stays', async () => {
  await apply([change('certs.d/_default/hosts.toml', undefined, 'ours')]);
  await writeFile(at('certs.d/other'), 'theirs');
  await journal.undo(false);
  expect(await readdir(at('certs.d'))).toEqual(['other']);
});

test('a link stays a link', async () => {
  await writeFile(at('real'), 'a');
  await symlink(at('real'), at('link'));
  await apply([change('link', 'a', 'ours')]);
  expect(await readFile(at('real'), 'utf8')).toBe('ours');
  await journal.undo(false);
  expect([await readFile(at('real'), 'utf8'), (await readdir(root)).sort()]).toEqual(['a', ['data', 'link', 'real']]);
});

test('when a file cannot be written, those before it are as they were, and there is nothing to undo', async () => {
  await writeFile(at('a'), 'a');
  await writeFile(at('file'), '');
  const changes = [change('a', 'a', 'ours'), change('file/below', undefined, 'x')];
  await expect(apply(changes)).rejects.toThrow(/cannot be written/);
  expect(await readFile(at('a'), 'utf8')).toBe('a');
  expect(await journal.undo(false)).toEqual([]);
});

test('a damaged journal is told of', async () => {
  await mkdir(at('data'));
  await writeFile(at('data/x.json'), '{');
  await expect(journal.undo(false)).rejects.toThrow('is damaged');
});

test('what somebody changed between two setups is not taken away unnoticed', async () => {
  await writeFile(at('a'), 'a');
  await apply([change('a', 'a', 'ours')]);
  await writeFile(at('a'), 'ours and theirs');
  await apply([change('a', 'ours and theirs', 'ours again, and theirs')]);
  await expect(journal.undo(false)).rejects.toThrow('was changed since');
});

test('a second setup with other settings is refused; the registries of the first one are remembered', async () => {
  await journal.apply([change('a', undefined, 'ours')], settings, ['r.example']);
  expect(await journal.earlierRegistries(settings)).toEqual(['r.example']);
  const other = { ...settings, mirror: 'http://10.0.0.5:7300' };
  await expect(journal.earlierRegistries(other)).rejects.toThrow('another mirror (http://127.0.0.1:7300)');
});

test('a setup with other settings can be taken back first, unless somebody changed its files; one with the same is kept', async () => {
  await writeFile(at('a'), 'a');
  await apply([change('a', 'a', 'ours')]);
  await journal.undoOther(settings);
  expect(await readFile(at('a'), 'utf8')).toBe('ours');
  const other = { ...settings, mirror: 'http://127.0.0.1:7400' };
  await writeFile(at('a'), 'theirs');
  await expect(journal.undoOther(other)).rejects.toThrow('was changed since');
  await writeFile(at('a'), 'ours');
  await journal.undoOther(other);
  expect(await readFile(at('a'), 'utf8')).toBe('a');
  expect(await journal.earlierRegistries(other)).toEqual([]);
});

test('a journal that others could have written is not believed', async () => {
  await writeFile(at('a'), 'a');
  await apply([change('a', 'a', 'ours')]);
  await chmod(at('data'), 0o777);
  await expect(journal.undo(true)).rejects.toThrow('can be written by others');
  await chmod(at('data'), 0o700);
  await rename(at('data'), at('elsewhere'));
  await symlink(at('elsewhere'), at('data'));
  await expect(journal.undo(true)).rejects.toThrow('can be written by others');
  expect(await readFile(at('a'), 'utf8')).toBe('ours');
});
