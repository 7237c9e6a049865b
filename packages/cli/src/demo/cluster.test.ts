import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { type Cluster, startCluster } from './cluster.ts';
import { smallImage, testFolder } from './demo-folder.fixture.ts';
import { pullImage } from './pull-client.ts';

const PULL = { repository: 'shoal/demo', reference: 'latest', platform: { os: 'linux', architecture: 'amd64' } };

async function originOnly(): Promise<Cluster> {
  const image = await smallImage();
  const origin = { layoutFolder: image.folder, repository: 'shoal/demo', registry: 'demo.test' };
  const cluster = await startCluster({ nodes: 0, folder: await testFolder(), tracker: false, origin });
  onTestFinished(() => cluster.stop());
  return cluster;
}

test('the origin is a process that counts what it sends', async () => {
  const { origin } = await originOnly();
  const pulled = await pullImage({ ...PULL, mirrorUrl: origin!.url, registry: 'demo.test' });
  expect(await origin!.counts()).toEqual({ bytesSent: pulled.totalBytes, requests: 5 });
});

test('a restarted process is found at the same address', async () => {
  const { origin } = await originOnly();
  const { url, pid } = origin!;
  await origin!.kill();
  expect(origin!.pid).toBeUndefined();
  await origin!.restart();
  expect(origin!.url).toBe(url);
  expect(origin!.pid).not.toBe(pid);
  expect(await origin!.counts()).toEqual({ bytesSent: 0, requests: 0 });
});

test('a process that cannot start fails the cluster', async () => {
  const origin = { layoutFolder: '/nonexistent', repository: 'r', registry: 'demo.test' };
  const start = startCluster({ nodes: 0, folder: await testFolder(), tracker: false, origin });
  await expect(start).rejects.toMatchObject({ code: 'ended-early', message: expect.stringContaining('ENOENT') });
});

test('a child does not outlive its parent, however that ended', async () => {
  const leash = new URL('./leash.ts', import.meta.url).href;
  const script = 'console.log(process.pid); setInterval(() => {}, 1000);';
  const parent = spawn(process.execPath, [
    '-e',
    `const { spawn } = require('node:child_process');
     spawn(process.execPath, ['--import', '${leash}', '-e', ${JSON.stringify(script)}],
       { stdio: ['pipe', 'inherit', 'inherit'], detached: true });`,
  ]);
  onTestFinished(() => void parent.kill('SIGKILL'));
  const child = await new Promise<number>((resolve) =>
    createInterface({ input: parent.stdout }).once('line', (line) => resolve(Number(line))),
  );
  expect(() => process.kill(child, 0)).not.toThrow();
  parent.kill('SIGKILL');
  await expect.poll(() => canSignal(child), { timeout: 10_000 }).toBe(false);
});

function canSignal(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
