import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { pullInChunks } from '../support/chunked-client.ts';
import { Containerd } from '../support/daemon/containerd.ts';
import { Dockerd } from '../support/daemon/dockerd.ts';
import { Podman } from '../support/daemon/podman.ts';
import { Skopeo } from '../support/daemon/skopeo.ts';
import { type Fault, FaultOrigin, type Matcher } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import type { Suite } from './requirement.ts';
import { describeSuite } from './suite.ts';

const MiB = 1024 * 1024;
/** How long the registry's rate limit lasts, and a little more. */
const LIMITED_MS = 1_100;
/** Registry mirrors of Docker serve this one alone. */
const registryName = 'docker.io';

type Client = (image: ImageFixture) => Promise<unknown>;
type Row = [what: string, ...faults: [Matcher, Fault][]];

// Each client through an agent in front of a registry that goes wrong. What the agent hides is not seen by the client at all; what
// it cannot hide it says by a 404, and the client goes to the registry itself, which is right again by then.
const rows: Row[] = [
  [
    'has no such tag at first',
    [
      { kind: 'manifest', times: 1 },
      { type: 'status', status: 404 },
    ],
  ],
  [
    'limits the rate of manifests',
    [
      { kind: 'manifest', times: 1 },
      { type: 'status', status: 429, retryAfter: 1 },
    ],
  ],
  [
    'answers 503 to manifests',
    [
      { kind: 'manifest', times: 1 },
      { type: 'status', status: 503 },
    ],
  ],
  [
    'answers 500 to blobs',
    [
      { kind: 'blob', times: 2 },
      { type: 'status', status: 500 },
    ],
  ],
  [
    'limits the rate of blobs',
    [
      { kind: 'blob', method: 'GET', times: 1 },
      { type: 'status', status: 429, retryAfter: 1 },
    ],
  ],
  [
    'cuts bodies short',
    [
      { kind: 'blob', method: 'GET', times: 2 },
      { type: 'cut-short', afterBytes: 700_000 },
    ],
  ],
  [
    'resets connections',
    [
      { kind: 'blob', method: 'GET', times: 2 },
      { type: 'reset', afterBytes: 700_000 },
    ],
  ],
  [
    'stalls in a body',
    [
      { kind: 'blob', method: 'GET', nth: 1 },
      { type: 'stall', afterBytes: 700_000 },
    ],
  ],
  ['never answers for a blob', [{ kind: 'blob', method: 'GET', nth: 1 }, { type: 'no-answer' }]],
  [
    'ignores ranges, and cuts a body short',
    [{ kind: 'blob' }, { type: 'ignore-range' }],
    [
      { kind: 'blob', method: 'GET', nth: 1 },
      { type: 'cut-short', afterBytes: 700_000 },
    ],
  ],
  ['tells no length', [{ kind: 'blob' }, { type: 'no-content-length' }]],
  [
    'redirects to another host, once to an address that has run out',
    [{ kind: 'blob' }, { type: 'redirect' }],
    [
      { kind: 'blob', method: 'GET', nth: 1 },
      { type: 'redirect', expired: true },
    ],
  ],
];

let origin: FaultOrigin;
let cluster: ShoalCluster;
const shared = new AsyncDisposableStack();
beforeAll(async () => {
  origin = shared.use(await FaultOrigin.start());
  cluster = shared.use(
    await ShoalCluster.start({
      origin,
      tracker: false,
      agentArguments: () => ['--registry', `${registryName}=${origin.url}`],
    }),
  );
});
afterAll(() => shared.disposeAsync());
beforeEach(() => origin.clearFaults());

const mirrorUrl = () => cluster.agent(0).mirrorUrl;
const mirrorHost = () => new URL(mirrorUrl()).host;
const reference = ({ repository, tag }: ImageFixture) => `${registryName}/${repository}:${tag}`;
const route = () => ({
  registry: registryName,
  location: origin.registry,
  mirror: `${mirrorHost()}/${registryName}`,
});

const clients: [name: string, suite: Suite | undefined, start: (resources: AsyncDisposableStack) => Promise<Client>][] =
  [
    [
      'containerd',
      'containerd',
      async (resources) => {
        const containerd = resources.use(await Containerd.start({ cri: false }));
        await containerd.mirror({ registry: registryName, upstream: origin.url, mirror: mirrorUrl() });
        return (image) => containerd.pull(reference(image));
      },
    ],
    [
      'dockerd',
      'dockerd',
      async (resources) => {
        const dockerd = resources.use(await Dockerd.start({ registryMirrors: [mirrorUrl(), origin.url] }));
        return ({ repository, tag }) => dockerd.pull(`${repository.replace('library/', '')}:${tag}`);
      },
    ],
    [
      'podman',
      'podman',
      async (resources) => {
        const podman = resources.use(await Podman.start([route()]));
        return (image) => podman.pull(reference(image));
      },
    ],
    [
      'skopeo',
      'skopeo',
      async (resources) => {
        const skopeo = resources.use(await Skopeo.start([route()]));
        return (image) => skopeo.copyToLayout(reference(image));
      },
    ],
    [
      'a client that fetches in chunks',
      undefined,
      async () => async (image) => {
        const target = { mirrorUrl: mirrorUrl(), registry: registryName, repository: image.repository, tag: image.tag };
        // It has no other place to go to, but tries again as the kubelet does.
        const again = () => sleep(LIMITED_MS).then(() => pullInChunks(target));
        const found = await pullInChunks(target).catch(again);
        const wanted = [...image.manifests, ...image.blobs].map(({ digest }) => digest);
        expect(found.sort()).toEqual(wanted.sort());
      },
    ],
  ];

for (const [name, suite, start] of clients) {
  const define = (tests: () => void) =>
    suite === undefined ? describe(name, tests) : describeSuite(suite, name, tests);
  define(() => {
    const resources = new AsyncDisposableStack();
    let pull: Client;
    beforeAll(async () => {
      pull = await start(resources);
    });
    afterAll(() => resources.disposeAsync());

    test.each(rows)('completes a pull from a registry that %s', async (what, ...faults) => {
      const seed = `${name} ${what}`.replaceAll(/[^a-z0-9]+/gi, '-').toLowerCase();
      const layers = [{ tarGzBytes: 2 * MiB }, { tarGzBytes: 300_000 }];
      const image = await buildImage({ seed, repository: `library/${seed}`, layers });
      origin.add(image);
      const injected = faults.map(([matcher, fault]) => origin.inject(matcher, fault));
      await pull(image);
      for (const { hits } of injected) expect(hits).toBeGreaterThan(0);
      // While the agent leaves the registry alone, the next client would go past it.
      if (faults.some(([, fault]) => fault.type === 'status' && fault.status === 429)) await sleep(LIMITED_MS);
    });
  });
}
