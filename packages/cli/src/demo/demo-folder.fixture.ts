/** A folder per test, removed after it, and a small image layout to serve from. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { type WrittenImage, writeImage } from './image-layout.ts';

export async function testFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-demo-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Two layers: a folder of small files with a link, and one file of `bigBytes`. */
export async function smallImage(bigBytes: number = 3_000_000): Promise<WrittenImage> {
  const folder = await testFolder();
  const big = join(folder, 'big.source');
  await writeFile(big, Buffer.alloc(bigBytes, 'shoal '), { mode: 0o755 });
  return await writeImage(join(folder, 'layout'), {
    tag: 'latest',
    architecture: 'amd64',
    os: 'linux',
    layers: [
      {
        origin: 'small files',
        entries: [
          { kind: 'text', path: 'etc/greeting', text: 'hello\n' },
          { kind: 'symlink', path: 'etc/link', target: 'greeting' },
          { kind: 'directory', path: 'tmp', mode: 0o1777 },
        ],
      },
      { origin: 'a big file', entries: [{ kind: 'file', path: 'opt/big', source: big }] },
    ],
    entrypoint: ['/opt/big'],
    environment: { PATH: '/bin' },
    workingFolder: '/',
    labels: {},
  });
}
