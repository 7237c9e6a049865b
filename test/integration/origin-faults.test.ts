/** An origin that goes wrong, one agent alone in front of it, and skopeo, which takes nothing but the right bytes. */
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { type Fault, FaultOrigin, type Matcher } from '../support/fault-origin.ts';
import { buildImage, type ImageFixture } from '../support/image-fixture.ts';
import { ShoalCluster } from '../support/shoal-cluster.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
/** What a read that broke may have brought for nothing: what was on its way in the sockets when it broke. */
const LOST_PER_FAULT_BYTES = 4 * MiB;

describeWith('skopeo', 'an origin that goes wrong', () => {
  const resources = new AsyncDisposableStack();
  let origin: FaultOrigin;
  let cluster: ShoalCluster;

  let limited: Promise<void>;

  beforeAll(async () => {
    origin = resources.use(await FaultOrigin.start());
    cluster = resources.use(await ShoalCluster.start({ origin, tracker: false }));
    limited = askedAgainLater();
    limited.catch(() => undefined);
    resources.defer(() => limited.catch(() => undefined));
  });
  afterAll(() => resources.disposeAsync());
  beforeEach(() => {
    origin.clearFaults();
    origin.resetStats();
  });

  let images = 0;
  async function newImage(at = origin): Promise<ImageFixture> {
    const seed = `origin-faults-${images++}`;
    const image = await buildImage({ seed, repository: 'org/img', tag: seed, layers: [8 * MiB, MiB] });
    at.add(image);
    return image;
  }
  const firstLayer = (image: ImageFixture) => image.layers[0]!.digest;

  /** Of an agent and an origin of their own: twenty seconds pass until it asks again, and meanwhile the others are tried. */
  async function askedAgainLater(): Promise<void> {
    await using own = await FaultOrigin.start();
    await using agent = await ShoalCluster.start({ origin: own, tracker: false });
    const image = await newImage(own);
    const limit = own.inject({ digest: firstLayer(image) }, { type: 'status', status: 429, retryAfter: 600 });
    await expect(agent.copy(0, image)).rejects.toThrow();
    expect(limit.hits).toBeLessThanOrEqual(3);
    limit.remove();
    const copied = (): Promise<string> =>
      agent.copy(0, image).then(
        () => 'copied',
        () => 'refused',
      );
    await vi.waitFor(async () => expect(await copied()).toBe('copied'), { timeout: 40_000, interval: 2_000 });
  }

  const survived: [string, Matcher, Fault][] = [
    ['stalls in the middle of a body', { kind: 'blob', method: 'GET', nth: 1 }, { type: 'stall', afterBytes: 3 * MiB }],
    ['resets the connection', { kind: 'blob', method: 'GET', times: 2 }, { type: 'reset', afterBytes: 700_000 }],
    ['cuts the body short', { kind: 'blob', method: 'GET', times: 3 }, { type: 'cut-short', afterBytes: 900_000 }],
    ['takes a request and never answers', { kind: 'blob', method: 'GET', nth: 1 }, { type: 'stall', afterBytes: 0 }],
    ['answers 500', { kind: 'blob', times: 2 }, { type: 'status', status: 500 }],
    ['answers 503', { kind: 'blob', times: 2 }, { type: 'status', status: 503 }],
    ['tells no length', { kind: 'blob' }, { type: 'no-content-length' }],
    ['ignores Range', { kind: 'blob' }, { type: 'ignore-range' }],
  ];

  test.each(survived)('skopeo gets the image from one that %s', async (_what, matcher, fault) => {
    const image = await newImage();
    const injected = origin.inject(matcher, fault);
    await cluster.copy(0, image);
    expect(injected.hits).toBeGreaterThan(0);
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(image.totalBytes + injected.hits * LOST_PER_FAULT_BYTES);
    // All of it is here now, and right.
    await origin.down();
    try {
      await cluster.copy(0, image);
    } finally {
      await origin.up();
    }
  });

  test('an origin without Range whose body breaks is read again from the start, and what came before is not lost', async () => {
    const image = await newImage();
    origin.inject({ kind: 'blob' }, { type: 'ignore-range' });
    const cut = origin.inject(
      { digest: firstLayer(image), method: 'GET', nth: 1 },
      { type: 'cut-short', afterBytes: 5 * MiB },
    );
    await cluster.copy(0, image);
    expect(cut.hits).toBe(1);
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(image.totalBytes + 5 * MiB + LOST_PER_FAULT_BYTES);
  });

  test('a rate limit in the middle of a blob is waited out', async () => {
    const image = await newImage();
    const layer = { digest: firstLayer(image), method: 'GET' } as const;
    origin.inject({ ...layer, nth: 1 }, { type: 'cut-short', afterBytes: 3 * MiB });
    const limit = origin.inject({ ...layer, nth: 2 }, { type: 'status', status: 429, retryAfter: 1 });
    await cluster.copy(0, image);
    expect(limit.hits).toBe(1);
    expect(origin.stats().blobBytes).toBeLessThanOrEqual(image.totalBytes + LOST_PER_FAULT_BYTES);
  });

  test('a short rate limit before the first byte is waited out', async () => {
    const image = await newImage();
    const limit = origin.inject(
      { digest: firstLayer(image), times: 1 },
      { type: 'status', status: 429, retryAfter: 1 },
    );
    await cluster.copy(0, image);
    expect(limit.hits).toBe(1);
  });

  test.each([404, 401, 403])('what the origin refuses with %d fails, and only that', async (status) => {
    const image = await newImage();
    const refusal = origin.inject({ digest: firstLayer(image) }, { type: 'status', status });
    await expect(cluster.copy(0, image)).rejects.toThrow();
    refusal.remove();
    await cluster.copy(0, image);
  });

  test('an origin that answers nothing but 503 fails the pull in bounded time and requests, and recovers', async () => {
    const image = await newImage();
    const outage = origin.inject({}, { type: 'status', status: 503 });
    await expect(cluster.copy(0, image)).rejects.toThrow();
    expect(outage.hits).toBeLessThan(40);
    outage.remove();
    await cluster.copy(0, image);
  });

  test('wrong bytes never become a complete body and are not kept', async () => {
    const image = await newImage();
    const wrong = origin.inject(
      { digest: firstLayer(image), method: 'GET', nth: 1 },
      { type: 'wrong-byte', offset: 5 * MiB },
    );
    await expect(cluster.copy(0, image)).rejects.toThrow();
    expect(wrong.hits).toBe(1);
    await cluster.copy(0, image);
    await origin.down();
    try {
      await cluster.copy(0, image);
    } finally {
      await origin.up();
    }
  });

  test('a long rate limit before the first byte is passed on as a failure, and the origin is asked again later', () =>
    limited);
});
