import { createHash } from 'node:crypto';
import { MAX_PIECE_BYTES } from '@shoal/swarm';
import { afterEach, describe, expect, test } from 'vitest';
import {
  connect,
  pieceOf,
  RecordingListener,
  randomBlob,
  startAgent,
  type TestAgent,
  type TestBlob,
  TestCluster,
  until,
} from './cluster.fixture.ts';

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

const pair = async (options: Parameters<typeof startAgent>[1] = {}) => {
  const [asker, holder] = [await agent(options), await agent(options)];
  await connect(asker, holder);
  return { asker, holder };
};
const fetchFrom = (
  asker: TestAgent,
  holder: TestAgent,
  blob: TestBlob,
  index: number,
  options: { deadlineMs?: number; signal?: AbortSignal } = {},
) =>
  asker.network.fetchPiece(
    holder.identity.peerId,
    { blob: blob.id, sizeBytes: blob.sizeBytes, index },
    {
      patience: 0,
      deadlineMs: options.deadlineMs ?? 2_000,
      signal: options.signal ?? new AbortController().signal,
    },
  );
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

describe('connecting', () => {
  test('both sides see each other with their zones', async () => {
    const one = await agent({ zone: 'zone-1' });
    const two = await agent({ zone: 'zone-2' });
    await connect(one, two);
    expect(one.network.connected()).toEqual([{ peerId: two.identity.peerId, zone: 'zone-2' }]);
    expect(two.network.connected()).toEqual([{ peerId: one.identity.peerId, zone: 'zone-1' }]);
  });

  test('works over IPv6', async () => {
    const { asker, holder } = await pair({ listen: ['/ip6/::1/tcp/0'] });
    expect(holder.network.addresses()[0]).toMatch(/^\/ip6\/::1\/tcp\/\d+$/);
    expect(asker.network.connected()).toHaveLength(1);
  });

  test('addresses of a wildcard listener are concrete', async () => {
    const one = await agent({ listen: ['/ip4/0.0.0.0/tcp/0'] });
    expect(one.network.addresses().length).toBeGreaterThan(0);
    expect(one.network.addresses().join()).not.toMatch(/0\.0\.0\.0|p2p/);
  });

  test('a port in use is an error at the start', async () => {
    const one = await agent();
    await expect(startAgent(cluster, { listen: one.record.addresses })).rejects.toThrow(Error);
  });

  test('a dial that crossed another leaves one connection in use, on both sides', async () => {
    const one = await agent();
    const two = await agent();
    one.network.dial([two.record]);
    two.network.dial([one.record]);
    await until(() => one.network.connected().length === 1 && two.network.connected().length === 1);
    const blob = randomBlob(100_000);
    one.holdAll(blob);
    two.holdAll(blob);
    await expect(fetchFrom(one, two, blob, 0)).resolves.toBeDefined();
    await expect(fetchFrom(two, one, blob, 0)).resolves.toBeDefined();
  });

  test('an agent does not dial itself, nor more than its limit', async () => {
    const one = await agent({ maxConnections: 1 });
    const others = [await agent(), await agent()];
    await connect(one, others[0]!);
    one.network.dial([one.record, ...others.map(({ record }) => record)]);
    others[1]!.network.dial([one.record]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(one.network.connected()).toEqual([{ peerId: others[0]!.identity.peerId, zone: 'zone-a' }]);
    expect(others[1]!.network.connected()).toEqual([]);
  });

  test('addresses of members are reported, whoever dialled', async () => {
    const { asker, holder } = await pair();
    await until(() => asker.met.length > 0 && holder.met.length > 0);
    expect(asker.met.at(-1)).toMatchObject({ peerId: holder.identity.peerId, addresses: holder.record.addresses });
    expect(holder.met.at(-1)).toMatchObject({ peerId: asker.identity.peerId, addresses: asker.record.addresses });
  });

  test('before joining the cluster nothing is dialled and nobody is let in', async () => {
    const outsider = await agent({ membership: () => undefined });
    const member = await agent();
    outsider.network.dial([member.record]);
    member.network.dial([outsider.record]);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([outsider.network.connected(), member.network.connected()]).toEqual([[], []]);
    expect(outsider.network.attest({ blob: randomBlob(1).id, sizeBytes: 1, index: 0 }, sha256(Buffer.of(1)))).toEqual(
      new Uint8Array(0),
    );
  });
});

describe('wants', () => {
  test('are answered with a map, then with every change, until closed', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(1_000_000);
    const attest = (index: number) => holder.holdings.put(blob, index, new Uint8Array(1));
    attest(2);
    const listener = new RecordingListener();
    const want = asker.network.want(blob.id, listener);
    await until(() => listener.events.length === 1);
    attest(0);
    holder.network.publish(blob.id, blob.sizeBytes, 0);
    holder.network.withdraw(blob.id);
    await until(() => listener.events.length === 3);
    expect(listener.events).toEqual(['map zone-a 1000000 1/4', 'haves 0', 'gone']);
    want.close();
    const kept = new RecordingListener();
    asker.network.want(blob.id, kept);
    await until(() => kept.events.length === 1);
    expect(listener.events).toHaveLength(3);
  });

  test('are told to those that connect later, and answered when the first piece arrives', async () => {
    const asker = await agent();
    const holder = await agent();
    const blob = randomBlob(1_000_000);
    const listener = new RecordingListener();
    asker.network.want(blob.id, listener);
    await connect(asker, holder);
    await until(() => holder.holdings.lookups > 0);
    holder.holdings.put(blob, 3, new Uint8Array(1));
    holder.network.publish(blob.id, blob.sizeBytes, 3);
    await until(() => listener.events.length > 0);
    expect(listener.events).toEqual(['map zone-a 1000000 1/4']);
    expect(listener.maps.get(holder.identity.peerId)?.has(3)).toBe(true);
  });

  test('end for a peer that disconnects', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(10);
    holder.holdAll(blob);
    const listener = new RecordingListener();
    asker.network.want(blob.id, listener);
    await until(() => listener.maps.size === 1);
    await holder.network.stop();
    await until(() => listener.events.at(-1) === 'gone');
    expect(asker.network.connected()).toEqual([]);
  });

  test('that two pulls share stay until the last is closed', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(300_000);
    holder.holdings.put(blob, 0, new Uint8Array(1));
    const [one, two] = [new RecordingListener(), new RecordingListener()];
    const first = asker.network.want(blob.id, one);
    await until(() => one.events.length > 0);
    asker.network.want(blob.id, two);
    await until(() => two.events.length > 0);
    first.close();
    holder.network.publish(blob.id, blob.sizeBytes, 1);
    await until(() => two.events.includes('haves 1'));
    expect(one.events).not.toContain('haves 1');
  });
});

describe('pieces', () => {
  test('of 4 MiB come concurrently, verified, both ways at once', async () => {
    const { asker, holder } = await pair();
    const indexes = [...Array(3).keys()];
    // Pieces reach their full size only in a blob of this size; the first few are enough.
    const blob = { ...randomBlob(indexes.length * MAX_PIECE_BYTES), sizeBytes: 5 * 1024 ** 3 };
    for (const { holdings, network } of [asker, holder]) {
      for (const index of indexes) {
        const piece = { blob: blob.id, sizeBytes: blob.sizeBytes, index };
        holdings.put(blob, index, network.attest(piece, sha256(pieceOf(blob, index))));
      }
    }
    const fetched = await Promise.all([
      ...indexes.map((index) => fetchFrom(asker, holder, blob, index)),
      ...indexes.map((index) => fetchFrom(holder, asker, blob, index)),
    ]);
    for (const [at, piece] of fetched.entries()) {
      expect(piece.bytes).toHaveLength(MAX_PIECE_BYTES);
      expect(pieceOf(blob, at % indexes.length).equals(piece.bytes)).toBe(true);
      expect(sha256(piece.bytes).equals(piece.sha256)).toBe(true);
    }
  });

  test('that were relayed keep the first attestation', async () => {
    const [first, second, third] = [await agent(), await agent(), await agent()];
    await connect(second, first);
    await connect(third, second);
    const blob = randomBlob(50_000);
    first.holdAll(blob);
    const piece = await fetchFrom(second, first, blob, 0);
    second.holdings.put(blob, 0, piece.attestation, piece.bytes);
    const relayed = await fetchFrom(third, second, blob, 0);
    expect(relayed).toEqual(piece);
  });

  test('not held, or held without attestation, are refused', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(300_000);
    holder.holdings.put(blob, 0, new Uint8Array(0));
    await expect(fetchFrom(asker, holder, blob, 0)).rejects.toMatchObject({ code: 'not-held' });
    await expect(fetchFrom(asker, holder, blob, 1)).rejects.toMatchObject({ code: 'not-held', peerIsToBlame: false });
  });

  test('with wrong bytes are corrupt', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    const { attestation } = (await holder.holdings.read(blob.id, 0))!;
    const wrong = Buffer.from(blob.bytes);
    wrong[99_999]! ^= 1;
    holder.holdings.put(blob, 0, attestation, wrong);
    await expect(fetchFrom(asker, holder, blob, 0)).rejects.toMatchObject({ code: 'corrupt', peerIsToBlame: true });
  });

  test('with an attestation of another piece or blob, or of no member, are corrupt', async () => {
    const { asker, holder } = await pair();
    const stranger = await startAgent(new TestCluster());
    running.push(stranger);
    const blob = randomBlob(300_000);
    const piece = (index: number) => ({ blob: blob.id, sizeBytes: blob.sizeBytes, index });
    const hash = sha256(pieceOf(blob, 0));
    const attestations = {
      'another piece': holder.network.attest(piece(1), hash),
      'another blob': holder.network.attest({ ...piece(0), blob: randomBlob(1).id }, hash),
      'another size': holder.network.attest({ ...piece(0), sizeBytes: blob.sizeBytes + 1 }, hash),
      'no member': stranger.network.attest(piece(0), hash),
      garbage: Buffer.from('not an attestation'),
    };
    for (const [what, attestation] of Object.entries(attestations)) {
      holder.holdings.put(blob, 0, attestation);
      await expect(fetchFrom(asker, holder, blob, 0), what).rejects.toMatchObject({ code: 'corrupt' });
    }
    holder.holdings.put(blob, 0, holder.network.attest(piece(0), hash));
    await expect(fetchFrom(asker, holder, blob, 0)).resolves.toBeDefined();
  });

  test('of another length than the blob says end the connection', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    const { attestation } = (await holder.holdings.read(blob.id, 0))!;
    holder.holdings.put(blob, 0, attestation, blob.bytes.subarray(1));
    await expect(fetchFrom(asker, holder, blob, 0)).rejects.toMatchObject({ code: 'protocol' });
    await until(() => asker.network.connected().length === 0);
  });

  test('that do not start in time are given up', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    holder.holdings.gate = new Promise(() => {});
    await expect(fetchFrom(asker, holder, blob, 0, { deadlineMs: 100 })).rejects.toMatchObject({ code: 'timeout' });
    holder.holdings.gate = undefined;
    await expect(fetchFrom(asker, holder, blob, 0)).resolves.toBeDefined();
  });

  test('under way when the peer goes are gone', async () => {
    const { asker, holder } = await pair();
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    holder.holdings.gate = new Promise(() => {});
    const fetching = fetchFrom(asker, holder, blob, 0);
    await until(() => holder.holdings.reads > 0);
    const stopped = holder.network.stop();
    await expect(fetching).rejects.toMatchObject({ code: 'gone' });
    await stopped;
    await expect(fetchFrom(asker, holder, blob, 0)).rejects.toMatchObject({ code: 'gone' });
  });

  test('are cancelled at once, and the peer serves on', async () => {
    const { asker, holder } = await pair({ pieceStreamsPerPeer: 1 });
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    holder.holdings.gate = new Promise(() => {});
    const cancel = new AbortController();
    const fetching = fetchFrom(asker, holder, blob, 0, { signal: cancel.signal, deadlineMs: 60_000 });
    const waiting = fetchFrom(asker, holder, blob, 0);
    await until(() => holder.holdings.reads > 0);
    holder.holdings.gate = undefined;
    cancel.abort();
    await expect(fetching).rejects.toMatchObject({ code: 'cancelled' });
    await expect(waiting).resolves.toBeDefined();
  });

  test('whose turn comes when they are cancelled pass it on', async () => {
    const { asker, holder } = await pair({ pieceStreamsPerPeer: 1 });
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    const cancels = [...Array(5)].map(() => new AbortController());
    const fetches = cancels.map(({ signal }) => fetchFrom(asker, holder, blob, 0, { signal }));
    const first = fetches[0]!.then(() => {
      for (const cancel of cancels.slice(1, 4)) cancel.abort();
    });
    const settled = await Promise.allSettled(fetches);
    await first;
    expect([settled[0]!.status, settled[4]!.status]).toEqual(['fulfilled', 'fulfilled']);
  });

  test('beyond the upload slots and their queue are refused as busy', async () => {
    const { asker, holder } = await pair({ uploadSlots: 1 });
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    let open = () => {};
    holder.holdings.gate = new Promise((resolve) => {
      open = resolve;
    });
    const fetches = [1, 2, 3, 4].map(() => fetchFrom(asker, holder, blob, 0));
    await expect(Promise.race(fetches)).rejects.toMatchObject({ code: 'busy', retryAfterMs: expect.any(Number) });
    open();
    const settled = await Promise.allSettled(fetches);
    // One slot, and one place in the queue; the other place is kept for newcomers.
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
  });

  test('are counted as bytes on both sides', async () => {
    const counted = { sent: 0, received: 0 };
    const hooks = {
      onBytesSent: (bytes: number) => {
        counted.sent += bytes;
      },
      onBytesReceived: (bytes: number) => {
        counted.received += bytes;
      },
    };
    const { asker, holder } = await pair({ hooks });
    const blob = randomBlob(100_000);
    holder.holdAll(blob);
    await fetchFrom(asker, holder, blob, 0);
    await until(() => counted.sent === 100_000);
    expect(counted.received).toBe(100_000);
  });
});
