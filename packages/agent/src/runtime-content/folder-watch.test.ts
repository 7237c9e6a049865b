import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { beforeEach, expect, onTestFinished, test, vi } from 'vitest';
import { contentFolder } from './content-folder.fixture.ts';
import { FolderWatch } from './folder-watch.ts';

let path: string;
let watch: FolderWatch;
let gone: string[];
let news: number;

beforeEach(async () => {
  path = join((await contentFolder()).path, 'blobs', 'sha256');
  [gone, news] = [[], 0];
  watch = new FolderWatch({
    onGone: (name) => gone.push(name),
    onNew: () => news++,
    logger: pino({ level: 'silent' }),
  });
  onTestFinished(() => watch.close());
});

test('tells what is moved in and what is removed', async () => {
  await writeFile(join(path, '../ingest'), 'x');
  expect(await watch.follow(path, true)).toBeUndefined();
  await rename(join(path, '../ingest'), join(path, 'ab'));
  await vi.waitFor(() => expect(news).toBeGreaterThan(0));
  expect(gone).toEqual([]);
  await rm(join(path, 'ab'));
  await vi.waitFor(() => expect(gone).toEqual(['ab']));
});

test('a folder that was made anew is watched again', async () => {
  await watch.follow(path, false);
  await rename(path, `${path}-before`);
  await mkdir(path);
  await writeFile(join(path, 'ab'), 'x');
  expect(await watch.follow(path, true)).toBeUndefined();
  await rm(join(path, 'ab'));
  await vi.waitFor(() => expect(gone).toContain('ab'));
});

test('a folder that is not there is a problem only when there is content', async () => {
  const nowhere = join(path, 'nowhere');
  expect(await watch.follow(nowhere, false)).toBeUndefined();
  expect(await watch.follow(nowhere, true)).toBe(`${nowhere} is not there`);
  await writeFile(join(path, 'file'), 'x');
  expect(await watch.follow(join(path, 'file', 'below'), true)).toMatch(/ENOTDIR/);
});
