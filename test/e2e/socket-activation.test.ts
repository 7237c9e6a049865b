import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ActivatedAgent } from '../support/daemon/activated-agent.ts';
import { Containerd } from '../support/daemon/containerd.ts';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { describeSuite } from './suite.ts';

const MiB = 1024 * 1024;
const soon = { timeout: 30_000, interval: 10 };
const REGISTRY = 'registry.example';
const BYTES_PER_SECOND = 2 * MiB;
/** By then a layer's first piece is at the client, and its body under way. */
const BEGUN_BYTES = 1.5 * MiB;

describeSuite('socket-activation', 'containerd at a mirror whose socket systemd holds', () => {
  const resources = new AsyncDisposableStack();
  let origin: FaultOrigin;
  let agent: ActivatedAgent;
  let containerd: Containerd;

  beforeAll(async () => {
    origin = resources.use(await FaultOrigin.start());
    agent = resources.use(await ActivatedAgent.start(['--registry', `${REGISTRY}=${origin.url}`]));
    containerd = resources.use(await Containerd.start({ cri: false }));
    await containerd.mirror({ registry: REGISTRY, upstream: origin.url, mirror: agent.mirrorUrl });
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => origin.resetStats());

  async function published(seed: string, layerBytes: number): Promise<ImageFixture> {
    const layers = [{ tarGzBytes: layerBytes }, { tarGzBytes: layerBytes }];
    const image = await buildImage({ seed, repository: `org/${seed}`, layers });
    origin.add(image);
    return image;
  }

  const pull = ({ repository, tag }: ImageFixture) => containerd.pull(`${REGISTRY}/${repository}:${tag}`);
  const readBytes = (image: ImageFixture) =>
    image.layers.map(({ digest }) => origin.stats().byDigest[digest]?.bytes ?? 0);
  const askers = () => [
    ...new Set(origin.requests.map(({ headers }) => String(headers['user-agent']).replace(/\/.*/, ''))),
  ];

  test('goes on with its layers at the next agent when one is killed in their bodies', async () => {
    const image = await published('bodies', 8 * MiB);
    origin.inject({ kind: 'blob', method: 'GET' }, { type: 'slow', bytesPerSecond: BYTES_PER_SECOND });
    const pulled = pull(image);
    for (const kill of [1, 2]) {
      await expect.poll(() => agent.readyCount, soon).toBe(kill);
      const before = readBytes(image);
      const fewestSince = () => Math.min(...readBytes(image).map((bytes, layer) => bytes - (before[layer] ?? 0)));
      await expect.poll(fewestSince, soon).toBeGreaterThan(BEGUN_BYTES);
      agent.signal('SIGKILL');
    }
    await pulled;
    expect(agent.readyCount).toBe(3);
    expect(askers()).toEqual(['shoal']);
    // What a killed agent had under way is read again, and what it had kept is not.
    expect(origin.stats().blobBytes).toBeLessThan(image.totalBytes + 4 * BEGUN_BYTES);
  });

  test('waits for the next agent when one is killed before its pull', async () => {
    const image = await published('between', MiB);
    const before = agent.readyCount;
    agent.signal('SIGKILL');
    await pull(image);
    expect(agent.readyCount).toBe(before + 1);
    expect(askers()).toEqual(['shoal']);
    expect(readBytes(image)).toEqual(image.layers.map(({ sizeBytes }) => sizeBytes));
  });
});
