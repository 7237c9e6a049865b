import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { makeDataFolder } from './data-folder.ts';

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'shoal-data-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('makes the folder and those above it; one that is there is fine', async () => {
  const folder = join(temporaryFolder(), 'a', 'b', 'c');
  await makeDataFolder(folder);
  await makeDataFolder(folder);
  expect(existsSync(folder)).toBe(true);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
});

test('a file on the way is told', async () => {
  const file = join(temporaryFolder(), 'file');
  writeFileSync(file, '');
  await expect(makeDataFolder(join(file, 'data'))).rejects.toMatchObject({ code: 'ENOTDIR' });
});

test.runIf(existsSync('/proc/self'))('ends where the file system refuses new folders', async () => {
  await expect(makeDataFolder('/proc/shoal/data')).rejects.toMatchObject({ code: 'ENOENT' });
});
