/** Tags, manifests and configs: asked of the origin once per cluster, and never told to who may not know. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MANIFEST_ACCEPT, OCI_MANIFEST } from '@shoal/oci';
import { request } from 'undici';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { FaultOrigin } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { registryName, ShoalCluster } from '../support/shoal-cluster.ts';

const MiB = 1024 * 1024;
const nodes = 4;
/** On a busy machine a member may take longer to ask than its turn lasts, and a second one is asked, too. */
const takeovers = 1;

let resources: AsyncDisposableStack;
let origin: FaultOrigin;
let cluster: ShoalCluster;
/** Of each test its own, with content of its own: agents that others asked before know nothing of it. */
let repository: string;
let tests = 0;

beforeEach(() => {
  repository = `org/img-${tests++}`;
});

async function start(options: Partial<Parameters<typeof ShoalCluster.start>[0]> = {}): Promise<void> {
  cluster = resources.use(await ShoalCluster.start({ origin, nodes, ...options }));
}

async function startOrigin(): Promise<void> {
  resources = new AsyncDisposableStack();
  origin = resources.use(await FaultOrigin.start());
}

async function newImage(index = true): Promise<ImageFixture> {
  const image = await buildImage({ seed: repository, repository, layers: [2 * MiB, 50_000], index });
  origin.add(image);
  return image;
}

interface Asked {
  readonly path: string;
  readonly method?: 'GET' | 'HEAD';
  readonly accept?: string;
  readonly registry?: string;
}

/** Through an agent's mirror; 404 means that this agent does not serve it. */
async function ask(index: number, { path, method = 'HEAD', accept = MANIFEST_ACCEPT, registry = registryName }: Asked) {
  const url = `${cluster.agent(index).mirrorUrl}/v2/${repository}/${path}?ns=${registry}`;
  const { statusCode, headers, body } = await request(url, { method, headers: { accept } });
  await body.dump();
  return { statusCode, digest: headers['docker-content-digest'] };
}

const everywhere = <T>(does: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: nodes }, (_, index) => does(index)));

function heads(reference: string): number {
  return origin.requests.filter(({ method, path }) => method === 'HEAD' && path.endsWith(`/${reference}`)).length;
}

function gets(reference: string): number {
  return origin.requests.filter(({ method, path }) => method === 'GET' && path.endsWith(`/${reference}`)).length;
}

describe('a cluster', () => {
  beforeAll(async () => {
    await startOrigin();
    await start();
  });
  beforeEach(() => {
    origin.clearFaults();
    origin.resetStats();
  });
  afterAll(() => resources.disposeAsync());

  test('of four asks once for the tag, once for each manifest, once for the config', async () => {
    const image = await newImage();
    await everywhere((index) => cluster.pull(index, image));
    expect(heads(image.tag)).toBe(1);
    expect(origin.stats().byMethod.HEAD?.requests).toBe(1);
    for (const { digest } of [...image.manifests, image.config]) expect([digest, gets(digest)]).toEqual([digest, 1]);
    expect(origin.stats().blobBytes).toBe(image.totalBytes);
  });

  test('of four that pull by digest asks once whether the repository holds it', async () => {
    const image = await newImage();
    await everywhere((index) => cluster.pull(index, image, { reference: image.root.digest }));
    expect(origin.stats().byMethod.HEAD?.requests).toBe(1);
    for (const { digest } of image.manifests) expect(gets(digest)).toBe(1);
  });

  test('asks once per kind of client', async () => {
    const image = await newImage(false);
    const accepts = [MANIFEST_ACCEPT, OCI_MANIFEST, MANIFEST_ACCEPT.split(', ').reverse().join(',').toUpperCase()];
    const answers = await everywhere((index) => ask(index, { path: 'manifests/v1', accept: accepts[index % 3]! }));
    expect(answers).toEqual(Array(nodes).fill({ statusCode: 200, digest: image.root.digest }));
    expect(heads(image.tag)).toBe(2);
  });

  test('is told no by two members, and the others believe it, but not for long', async () => {
    const answers = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(Array(nodes).fill(404));
    expect(heads('v1')).toBeLessThanOrEqual(2 + takeovers);
    const image = await newImage();
    await expect
      .poll(() => everywhere((index) => ask(index, { path: 'manifests/v1' })), { timeout: 10_000, interval: 500 })
      .toEqual(Array(nodes).fill({ statusCode: 200, digest: image.root.digest }));
  });

  test('asks a second member when the first is not answered, and not all of them', async () => {
    const image = await newImage();
    origin.inject({ method: 'HEAD', nth: 1 }, { type: 'no-answer' });
    const answers = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(answers).toEqual(Array(nodes).fill({ statusCode: 200, digest: image.root.digest }));
    expect(heads('v1')).toBeLessThanOrEqual(2 + takeovers);
  });

  test('asks for each member when asking one after the other does not help', async () => {
    const image = await newImage();
    origin.inject({ method: 'HEAD', times: 3 }, { type: 'status', status: 503 });
    origin.inject({ method: 'GET', times: 3 }, { type: 'status', status: 503 });
    const answers = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(answers.filter(({ statusCode }) => statusCode === 200).length).toBeGreaterThanOrEqual(nodes - 3);
    expect(heads('v1')).toBeLessThanOrEqual(nodes);
    const later = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(later).toEqual(Array(nodes).fill({ statusCode: 200, digest: image.root.digest }));
  });
});

describe('a cluster of its own', () => {
  beforeEach(startOrigin);
  afterEach(() => resources.disposeAsync());

  test('sees a tag move once the window is over, and asks once again for it', async () => {
    const windowMs = 3_000;
    await start({ agentArguments: () => ['--tag-fresh', `${windowMs}ms`] });
    const image = await newImage();
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, moved: true }));
    const startedAtMs = performance.now();
    await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    const moved = origin.addManifest(repository, bytes, OCI_MANIFEST, 'v1');
    const before = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    if (performance.now() - startedAtMs < windowMs) {
      expect(before.map(({ digest }) => digest)).toEqual(Array(nodes).fill(image.root.digest));
      expect(heads('v1')).toBe(1);
    }
    await new Promise((resolve) => setTimeout(resolve, windowMs));
    const askedBefore = heads('v1');
    const after = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(after.map(({ digest }) => digest)).toEqual(Array(nodes).fill(moved));
    expect(heads('v1') - askedBefore).toBeGreaterThanOrEqual(1);
    expect(heads('v1') - askedBefore).toBeLessThanOrEqual(1 + takeovers);
  });

  test('with a window of 0 asks at every node, every time', async () => {
    await start({ agentArguments: () => ['--tag-fresh', '0'] });
    const image = await newImage();
    await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(heads('v1')).toBe(nodes);
    origin.tag(repository, 'v1', image.manifest.digest);
    const answers = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(answers.map(({ digest }) => digest)).toEqual(Array(nodes).fill(image.manifest.digest));
    expect(heads('v1')).toBe(2 * nodes);
  });

  test('asks no more than once again after its tracker restarted', async () => {
    await start();
    const image = await newImage();
    await Promise.all([0, 1, 2].map((index) => ask(index, { path: 'manifests/v1' })));
    await cluster.tracker.restart();
    await everywhere(async (index) => {
      await vi.waitFor(async () => expect(await cluster.metric(index, 'shoal_tracker_reachable')).toBe(1), 20_000);
    });
    const answers = await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(answers).toEqual(Array(nodes).fill({ statusCode: 200, digest: image.root.digest }));
    expect(heads('v1')).toBeLessThanOrEqual(2 + takeovers);
  });

  test('without a tracker every node asks for itself, once within the window', async () => {
    await start({ tracker: false });
    await newImage();
    await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    await everywhere((index) => ask(index, { path: 'manifests/v1' }));
    expect(heads('v1')).toBe(nodes);
  });

  test('goes on with the next member when the one that asks dies', async () => {
    await start();
    const image = await newImage();
    origin.inject({ method: 'HEAD', nth: 1 }, { type: 'no-answer' });
    const first = ask(0, { path: 'manifests/v1' }).catch(() => undefined);
    await origin.until(({ byMethod }) => byMethod.HEAD?.requests === 1);
    const others = Promise.all([1, 2, 3].map((index) => ask(index, { path: 'manifests/v1' })));
    await cluster.agent(0).kill('SIGKILL');
    expect(await others).toEqual(Array(3).fill({ statusCode: 200, digest: image.root.digest }));
    expect(heads('v1')).toBeLessThanOrEqual(2 + takeovers);
    await first;
    await cluster.agent(0).restart();
  });
});

describe('a private repository', () => {
  const registry = 'private.test';
  const login = { username: 'robot', password: 'correct-horse-battery' };
  let folder: string;

  /** Agents 0 and 1 have the login, 2 and 3 another one that the registry refuses, 4 and 5 none. */
  beforeEach(async () => {
    await startOrigin();
    folder = await mkdtemp(join(tmpdir(), 'shoal-flash-'));
    resources.defer(() => rm(folder, { recursive: true }));
    const fileOf = async (name: string, password: string): Promise<string> => {
      const file = join(folder, name);
      const { username } = login;
      const value = {
        registry: { [registry]: { url: origin.url, username, password, 'open-to-clients': true } },
      };
      // JSON is YAML.
      await writeFile(file, JSON.stringify(value), { mode: 0o600 });
      return file;
    };
    const files = [await fileOf('login.yaml', login.password), await fileOf('wrong.yaml', 'wrong-horse-battery')];
    await start({
      nodes: 6,
      agentArguments: (index) =>
        index < 4
          ? ['--config', files[Math.floor(index / 2)]!, '--log-level', 'trace']
          : ['--registry', `${registry}=${origin.url}`],
    });
  });
  afterEach(() => resources.disposeAsync());

  /** What an agent may not give out, be the origin there or not. */
  async function expectNothing(index: number, image: ImageFixture): Promise<void> {
    const paths = [
      'manifests/v1',
      ...image.manifests.map(({ digest }) => `manifests/${digest}`),
      ...image.blobs.map(({ digest }) => `blobs/${digest}`),
    ];
    for (const path of paths) {
      for (const method of ['HEAD', 'GET'] as const) {
        const { statusCode } = await ask(index, { path, method, registry });
        expect([401, 404], `${index} ${method} ${path}`).toContain(statusCode);
      }
    }
  }

  test.for(['basic', 'bearer'] as const)(
    '(%s) is asked once by those who may, and nobody else learns of it',
    async (type) => {
      origin.requireAuth({ type, ...login });
      const image = await newImage();
      const reference = { path: 'manifests/v1', registry };
      const answers = await Promise.all([0, 1, 0, 1].map((index) => ask(index, reference)));
      expect(answers).toEqual(Array(4).fill({ statusCode: 200, digest: image.root.digest }));
      const granted = () =>
        origin.requests.filter(
          ({ kind, method, status }) => kind === 'manifest' && method === 'HEAD' && status === 200,
        );
      expect(granted()).toHaveLength(1);
      for (const { digest } of image.blobs) {
        await ask(0, { path: `manifests/${image.root.digest}`, method: 'GET', registry });
        await ask(0, { path: `manifests/${image.manifest.digest}`, method: 'GET', registry });
        expect((await ask(0, { path: `blobs/${digest}`, method: 'GET', registry })).statusCode).toBe(200);
      }
      for (const index of [2, 3, 4, 5]) await expectNothing(index, image);
      expect(granted()).toHaveLength(1);

      // With the origin away, what the cluster remembers is still not theirs.
      await origin.down();
      for (const index of [2, 4]) await expectNothing(index, image);
      expect((await ask(1, reference)).statusCode).toBe(200);

      const said = [cluster.tracker, ...cluster.agents].map((each) => each.logs());
      const trackerFolder = join(cluster.folder.path, 'tracker');
      for (const entry of await readdir(trackerFolder, { recursive: true, withFileTypes: true })) {
        if (entry.isFile()) said.push(await readFile(join(entry.parentPath, entry.name), 'latin1'));
      }
      expect(said.join('\n')).toContain(image.root.digest);
      for (const secret of [login.password, Buffer.from(`${login.username}:${login.password}`).toString('base64')]) {
        expect(said.join('\n')).not.toContain(secret);
      }
    },
  );
});
