/** Upload and download rates between real agents. Bounds on time are generous: the machine may be busy. */
import { afterEach, describe, expect, test } from 'vitest';
import { type RateLane, RateLimit } from '../rate/rate-limit.ts';
import {
  connect,
  randomBlob,
  startAgent,
  type TestAgent,
  type TestBlob,
  TestCluster,
  until,
} from './cluster.fixture.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const PIECE_BYTES = 256 * KiB;
const PIECES = 16;

const cluster = new TestCluster();
const running: TestAgent[] = [];
const agent = async (options: Parameters<typeof startAgent>[1] = {}) => {
  const started = await startAgent(cluster, options);
  running.push(started);
  return started;
};
afterEach(async () => {
  await Promise.all(running.splice(0).map(({ network }) => network.stop()));
});

const blob = randomBlob(PIECES * PIECE_BYTES);
const holderOf = async (what: TestBlob, options: Parameters<typeof startAgent>[1] = {}) => {
  const holder = await agent(options);
  holder.holdAll(what);
  return holder;
};
const fetchFrom = (
  asker: TestAgent,
  holder: TestAgent,
  index: number,
  options: { deadlineMs?: number; signal?: AbortSignal } = {},
) =>
  asker.network.fetchPiece(
    holder.identity.peerId,
    { blob: blob.id, sizeBytes: blob.sizeBytes, index: index % PIECES },
    {
      patience: 0,
      deadlineMs: options.deadlineMs ?? 5_000,
      signal: options.signal ?? new AbortController().signal,
    },
  );

/** Fetches over and over, several pieces at once, for `forMs`; returns bytes per second from the first piece on. */
async function rateOf(asker: TestAgent, holder: TestAgent, forMs: number, parallel = 4): Promise<number> {
  const startMs = performance.now();
  let bytes = 0;
  let next = 0;
  const worker = async () => {
    while (performance.now() - startMs < forMs) {
      try {
        const fetched = await fetchFrom(asker, holder, next++);
        bytes += fetched.bytes.length;
      } catch {
        // Busy: nothing came.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return bytes / ((performance.now() - startMs) / 1000);
}

/** No more than the limit, a burst and what was under way; no less than half of it. */
function expectAbout(bytesPerSecond: number, limit: number): void {
  expect(bytesPerSecond).toBeLessThan(limit * 1.35);
  expect(bytesPerSecond).toBeGreaterThan(limit * 0.5);
}

describe('the upload rate', () => {
  test('holds for all peers together', async () => {
    const holder = await holderOf(blob, { uploadBytesPerSecond: 4 * MiB });
    const askers = [await agent(), await agent()];
    for (const asker of askers) await connect(asker, holder);
    const rates = await Promise.all(askers.map((asker) => rateOf(asker, holder, 1_200)));
    expectAbout(rates[0]! + rates[1]!, 4 * MiB);
    for (const rate of rates) expect(rate).toBeGreaterThan(MiB);
  });

  test('holds for each peer', async () => {
    const holder = await holderOf(blob, { uploadBytesPerSecondPerPeer: 2 * MiB });
    const askers = [await agent(), await agent(), await agent()];
    for (const asker of askers) await connect(asker, holder);
    const rates = await Promise.all(askers.map((asker) => rateOf(asker, holder, 1_200)));
    for (const rate of rates) expectAbout(rate, 2 * MiB);
  });

  test('in total and per peer hold together', async () => {
    const holder = await holderOf(blob, { uploadBytesPerSecond: 3 * MiB, uploadBytesPerSecondPerPeer: 2 * MiB });
    const askers = [await agent(), await agent()];
    await connect(askers[0]!, holder);
    await connect(askers[1]!, holder);
    expectAbout(await rateOf(askers[0]!, holder, 1_000), 2 * MiB);
    const rates = await Promise.all(askers.map((asker) => rateOf(asker, holder, 1_200)));
    expectAbout(rates[0]! + rates[1]!, 3 * MiB);
  });

  test('lets bytes out evenly', async () => {
    const holder = await holderOf(blob, { uploadBytesPerSecond: MiB });
    const came: { atMs: number; bytes: number }[] = [];
    const asker = await agent({
      hooks: { onBytesReceived: (bytes) => came.push({ atMs: performance.now(), bytes }) },
    });
    await connect(asker, holder);
    await rateOf(asker, holder, 1_000);
    // In any 200 ms: what they allow, a burst of 100 ms and a chunk, and room for timers that come late.
    for (const { atMs } of came) {
      const inWindow = came.filter((one) => one.atMs >= atMs && one.atMs < atMs + 200);
      expect(inWindow.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(0.55 * MiB);
    }
  });

  test('leaves a peer its turn while another one asks for all it can get', async () => {
    const holder = await holderOf(blob, { uploadBytesPerSecondPerPeer: MiB });
    const [greedy, modest] = [await agent({ pieceStreamsPerPeer: 8 }), await agent()];
    await connect(greedy, holder);
    await connect(modest, holder);
    const greed = rateOf(greedy, holder, 1_800, 16);
    await new Promise((resolve) => setTimeout(resolve, 300));
    for (let index = 0; index < 4; index++) {
      const startMs = performance.now();
      await fetchFrom(modest, holder, index);
      expect(performance.now() - startMs).toBeLessThan(1_500);
    }
    expectAbout(await greed, MiB);
  });
});

describe('the download rate', () => {
  const limited = (bytesPerSecond: number) => ({ downloadLane: new RateLimit({ bytesPerSecond }).lane() });

  test('holds for all peers together, and a peer that is slow for its own limit takes nothing from another', async () => {
    const asker = await agent(limited(4 * MiB));
    const [quick, slow] = [await holderOf(blob), await holderOf(blob, { uploadBytesPerSecond: 256 * KiB })];
    await connect(asker, quick);
    await connect(asker, slow);
    const rates = await Promise.all([rateOf(asker, quick, 1_200), rateOf(asker, slow, 1_200)]);
    expect(rates[0]! + rates[1]!).toBeLessThan(4 * MiB * 1.35);
    expect(rates[0]!).toBeGreaterThan(4 * MiB * 0.5);
  });

  test('holds for each peer, also below the one in total', async () => {
    const asker = await agent({ ...limited(8 * MiB), downloadBytesPerSecondPerPeer: 2 * MiB });
    const holders = [await holderOf(blob), await holderOf(blob)];
    for (const holder of holders) await connect(asker, holder);
    const rates = await Promise.all(holders.map((holder) => rateOf(asker, holder, 1_200)));
    for (const rate of rates) expectAbout(rate, 2 * MiB);
  });

  test('waiting for it is no fault of the peer', async () => {
    const asker = await agent(limited(MiB));
    const holder = await holderOf(blob);
    await connect(asker, holder);
    const fetches = [0, 1, 2, 3, 4, 5].map((index) => fetchFrom(asker, holder, index, { deadlineMs: 400 }));
    await expect(Promise.all(fetches)).resolves.toHaveLength(6);
  });

  test('is not used up by pieces that did not come', async () => {
    const asker = await agent(limited(MiB));
    const [empty, holder] = [await agent(), await holderOf(blob)];
    await connect(asker, empty);
    await connect(asker, holder);
    const startMs = performance.now();
    for (let index = 0; index < 40; index++) {
      await expect(fetchFrom(asker, empty, index)).rejects.toMatchObject({ code: 'not-held' });
    }
    await fetchFrom(asker, holder, 0);
    // 40 pieces of 256 KiB would be ten seconds.
    expect(performance.now() - startMs).toBeLessThan(4_000);
  });

  test('is not waited for when the piece is not needed any more, or the peer is gone', async () => {
    const { downloadLane } = limited(64 * KiB);
    downloadLane.spend(64 * MiB);
    const asker = await agent({ downloadLane });
    const holder = await holderOf(blob);
    await connect(asker, holder);
    const cancel = new AbortController();
    const cancelled = fetchFrom(asker, holder, 0, { signal: cancel.signal });
    const left = fetchFrom(asker, holder, 1);
    cancel.abort();
    await expect(cancelled).rejects.toMatchObject({ code: 'cancelled' });
    const stopped = holder.network.stop();
    await expect(left).rejects.toMatchObject({ code: 'gone' });
    await stopped;
    await until(() => asker.network.connected().length === 0);
  });
});

describe('rates of a running agent', () => {
  test('change for what comes next, on links that are there, and are lifted again', async () => {
    const [asker, holder] = [await agent(), await holderOf(blob)];
    await connect(asker, holder);
    let next = 0;
    const secondsFor = async (pieces: number): Promise<number> => {
      const startMs = performance.now();
      for (let done = 0; done < pieces; done++) await fetchFrom(asker, holder, next++);
      return (performance.now() - startMs) / 1000;
    };
    // A burst is there at once: four pieces at a mebibyte per second take more than half a second.
    holder.network.retune({ uploadBytesPerSecond: MiB });
    expect(await secondsFor(4)).toBeGreaterThan(0.6);
    holder.network.retune({ uploadBytesPerSecondPerPeer: MiB });
    expect(await secondsFor(4)).toBeGreaterThan(0.6);
    holder.network.retune({});
    asker.network.retune({ downloadBytesPerSecondPerPeer: MiB });
    expect(await secondsFor(4)).toBeGreaterThan(0.6);
    asker.network.retune(limited());
    expect(await secondsFor(4)).toBeGreaterThan(0.6);
    asker.network.retune({});
    expect(await secondsFor(PIECES)).toBeLessThan(3);
  });
});

function limited(): { downloadLane: RateLane } {
  return { downloadLane: new RateLimit({ bytesPerSecond: MiB }).lane() };
}
