/** `shoal bench` against running agents: what it says they asked of the registry is what the registry says. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { runShoal } from '../support/run-shoal.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;

describeWith('skopeo', 'shoal bench', () => {
  const resources = new AsyncDisposableStack();
  let origin: FaultOrigin;
  let cluster: ShoalCluster;
  let agents: string[];
  let images = 0;

  beforeAll(async () => {
    origin = resources.use(await FaultOrigin.start());
    cluster = resources.use(await ShoalCluster.start({ origin, nodes: 2 }));
    agents = cluster.agents.flatMap(({ mirrorUrl, adminUrl }) => [
      '--agent',
      `${new URL(mirrorUrl).host},${new URL(adminUrl).host}`,
    ]);
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => origin.resetStats());

  async function newImage(): Promise<ImageFixture> {
    const seed = `bench-${images++}`;
    const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers: [6 * MiB, MiB] });
    origin.add(image);
    return image;
  }

  test('pulls on every agent at once, and counts what the registry counts', async () => {
    const image = await newImage();
    const name = `${registryName}/org/img:${image.tag}`;
    const { code, stdout, stderr } = await runShoal('bench', name, ...agents, '--json');
    expect(code, stderr).toBe(0);
    const told = JSON.parse(stdout);
    expect(told).toMatchObject({ nodes: 2, failedPulls: 0 });
    expect(told.originBytes).toBe(origin.stats().bytes);
    expect(told.originBytesRatio).toBeGreaterThan(0.99);
    expect(told.originBytesRatio).toBeLessThan(1.5);
    expect(told.peerBytes).toBeGreaterThan(0);
    for (const { seconds } of told.perNode) expect(seconds).toBeGreaterThan(0);

    const again = await runShoal('bench', name, ...agents);
    expect(again.stdout).toMatch(/2 of 2 pulls are identical/);
    expect(again.stdout).toMatch(/it sent 0\.0 MB|\(0\.0\d × *\)/);
  });

  test('watches what the agents do while others pull', async () => {
    const image = await newImage();
    const watching = runShoal('bench', `${registryName}/org/img:${image.tag}`, ...agents, '--watch', '4s');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await cluster.pull(0, image);
    const { code, stdout } = await watching;
    expect(code).toBe(0);
    expect(stdout).toMatch(/the registry sent 7\.3 MB in \d+ requests/);
    expect(stdout).not.toContain('failed');
  });

  test.each([
    ['an agent that is not there', ['--agent', '127.0.0.1:1,127.0.0.1:2'], 1, /no agent answers at 127\.0\.0\.1:2/],
    ['an address without its admin', ['--agent', '127.0.0.1:1'], 2, /write it as MIRROR,ADMIN/],
    ['a time without unit', ['--watch', '5'], 2, /a duration like 5m/],
  ])('tells of %s in one line', async (_what, flags, expected, words) => {
    const { code, stdout, stderr } = await runShoal('bench', 'alpine', ...flags);
    expect(code).toBe(expected);
    expect(stdout).toBe('');
    expect(stderr).toMatch(words);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });
});
