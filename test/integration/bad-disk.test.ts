/** Disks that are read-only, full, or become full, and an index that is garbage. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt, run } from '../support/daemon/process.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { agentOnFreePorts, runShoal } from '../support/run-shoal.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
let origin: FaultOrigin;
let resources: AsyncDisposableStack;
let images = 0;

beforeAll(async () => {
  origin = await FaultOrigin.start();
});
afterAll(() => origin.down());
beforeEach(async () => {
  resources = new AsyncDisposableStack();
  await origin.up();
  origin.clearFaults();
  origin.resetStats();
});
afterEach(() => resources.disposeAsync());

async function newImage(...layers: number[]): Promise<ImageFixture> {
  const seed = `bad-disk-${images++}`;
  const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers });
  origin.add(image);
  return image;
}

describeWith('root', 'a disk of its own', () => {
  /** Disposing the folder unmounts it. */
  async function mountDisk(sizeBytes: number): Promise<string> {
    const folder = resources.use(await DaemonFolder.create('disk'));
    const mount = folder.join('disk');
    await mkdir(mount);
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'tmpfs', mount]);
    return mount;
  }

  /** Writes until nothing more fits. */
  async function fill(mount: string): Promise<string> {
    const file = join(mount, 'filler');
    const { code } = await attempt('dd', ['if=/dev/zero', `of=${file}`, 'bs=4096']);
    expect(code).not.toBe(0);
    return file;
  }

  function startOn(mount: string): Promise<ShoalCluster> {
    const agentArguments = (): string[] => ['--data', join(mount, 'data'), '--min-free-disk', '0'];
    return ShoalCluster.start({ origin, tracker: false, agentArguments });
  }

  test('read-only: one line, and what is there stays', async () => {
    const mount = await mountDisk(4 * MiB);
    await writeFile(join(mount, 'mine'), 'mine');
    await run('mount', ['-o', 'remount,ro', mount]);
    for (const data of [mount, join(mount, 'data')]) {
      const ended = await runShoal(...agentOnFreePorts(data));
      expect(ended.stderr.trimEnd().split('\n'), ended.stderr).toHaveLength(1);
      expect(ended.stderr).toMatch(/^shoal agent: the data folder .* is on a read-only file system\. .*--data/);
      expect(ended.code).toBe(1);
    }
    expect(await readFile(join(mount, 'mine'), 'utf8')).toBe('mine');
  });

  test('full before the first start: one line', async () => {
    const mount = await mountDisk(4 * MiB);
    await fill(mount);
    const ended = await runShoal(...agentOnFreePorts(join(mount, 'data')));
    expect(ended.stderr.trimEnd().split('\n'), ended.stderr).toHaveLength(1);
    expect(ended.stderr).toMatch(/^shoal agent: no space is left for the data folder .*Free some.*--data/);
    expect(ended.code).toBe(1);
  });

  test('full when an agent with blobs starts again: it serves them, or says what to do and has them when there is room', async () => {
    const mount = await mountDisk(32 * MiB);
    const image = await newImage(3 * MiB);
    const cluster = resources.use(await startOn(mount));
    await cluster.pull(0, image);
    await cluster.agent(0).kill('SIGTERM');
    const filler = await fill(mount);
    const started = await cluster
      .agent(0)
      .restart()
      .then(
        () => 'started',
        (error: unknown) => String(error),
      );
    if (started !== 'started') {
      expect(started).toContain('no space is left for the data folder');
      await rm(filler);
      await cluster.agent(0).restart();
    }
    await origin.down();
    await cluster.pull(0, image);
  });

  test('full from the start of a pull: the image is passed through', async () => {
    const mount = await mountDisk(32 * MiB);
    const cluster = resources.use(await startOn(mount));
    const filler = await fill(mount);
    const image = await newImage(8 * MiB, MiB);
    await cluster.pull(0, image);
    await cluster.pull(0, image);
    await rm(filler);
    await cluster.pull(0, image);
    await origin.down();
    await cluster.pull(0, image);
  });

  test('full in the middle of a pull: the body goes on where it was, and what was held before stays', async () => {
    const mount = await mountDisk(48 * MiB);
    const cluster = resources.use(await startOn(mount));
    const before = await newImage(4 * MiB);
    await cluster.pull(0, before);
    const image = await newImage(24 * MiB);
    origin.resetStats();
    origin.inject({ kind: 'blob' }, { type: 'slow', bytesPerSecond: 12 * MiB });
    const pull = cluster.pull(0, image);
    pull.catch(() => undefined);
    await origin.until((stats) => stats.blobBytes > 6 * MiB);
    const filler = await fill(mount);
    await pull;
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(1.3 * image.totalBytes);
    origin.resetStats();
    await cluster.pull(0, before);
    expect(origin.stats().blobBytes).toBe(0);
    await rm(filler);
    await origin.down();
    await cluster.pull(0, before);
  });
});

test.each([
  ['garbage in every file', () => randomBytes(5_000)],
  ['every file empty', () => Buffer.alloc(0)],
])('an index with %s is rebuilt: one line, and no blob is read again', async (_what, damage) => {
  const cluster = resources.use(await ShoalCluster.start({ origin }));
  const image = await newImage(3 * MiB, 200_000);
  await cluster.pull(0, image);
  const agent = cluster.agent(0);
  await agent.kill('SIGTERM');
  const index = join(agent.dataFolder, 'index');
  for (const name of await readdir(index)) await writeFile(join(index, name), damage());
  const logBefore = agent.logs().length;
  await agent.restart();
  const lines = agent.logs().slice(logBefore).trim().split('\n');
  expect(
    lines.filter((line) => /index was damaged/.test(line)),
    lines.join('\n'),
  ).toHaveLength(1);
  origin.resetStats();
  // The tracker remembers which repository the origin served it for.
  await origin.down();
  await cluster.pull(0, image);
});
