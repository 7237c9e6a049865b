/** Members that are barred: nobody connects to them, and nobody believes what they signed. */
import { createHash } from 'node:crypto';
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

const fetchFrom = (asker: TestAgent, holder: TestAgent, blob: TestBlob, index: number) =>
  asker.network.fetchPiece(
    holder.identity.peerId,
    { blob: blob.id, sizeBytes: blob.sizeBytes, index },
    { patience: 0, deadlineMs: 2_000, signal: new AbortController().signal },
  );
const attestedBy = (signer: TestAgent, blob: TestBlob, index: number) =>
  signer.network.attest(
    { blob: blob.id, sizeBytes: blob.sizeBytes, index },
    createHash('sha256').update(pieceOf(blob, index)).digest(),
  );

describe('a barred member', () => {
  test('is disconnected at once, and whoever wants its pieces hears that it is gone', async () => {
    const [one, liar] = [await agent(), await agent()];
    await connect(one, liar);
    const blob = randomBlob(1_000);
    liar.holdAll(blob);
    const listener = new RecordingListener();
    one.network.want(blob.id, listener);
    await until(() => listener.maps.size === 1);
    one.network.bar([liar.identity.peerId]);
    expect(one.network.connected()).toEqual([]);
    expect(listener.events.at(-1)).toBe('gone');
    await until(() => liar.network.connected().length === 0);
  });

  test('is neither dialled nor let in again, however often it tries', async () => {
    const [one, liar] = [await agent(), await agent()];
    one.network.bar([liar.identity.peerId]);
    for (let round = 0; round < 8; round++) {
      one.network.dial([liar.record]);
      liar.network.dial([one.record]);
      await new Promise((resolve) => setTimeout(resolve, 80));
      expect(one.network.connected()).toEqual([]);
    }
    expect(liar.network.connected()).toEqual([]);
  });

  test('may come back when it is not barred any more', async () => {
    const [one, suspect] = [await agent(), await agent()];
    await connect(one, suspect);
    one.network.bar([suspect.identity.peerId]);
    await until(() => suspect.network.connected().length === 0);
    one.network.bar([]);
    await connect(one, suspect);
  });

  test('does not keep the others out, and nobody bars itself', async () => {
    const [one, liar, honest] = [await agent(), await agent(), await agent()];
    await connect(one, honest);
    one.network.bar([liar.identity.peerId, one.identity.peerId]);
    const blob = randomBlob(1_000);
    honest.holdAll(blob);
    await expect(fetchFrom(one, honest, blob, 0)).resolves.toBeDefined();
    honest.holdings.put(blob, 0, attestedBy(one, blob, 0));
    await expect(fetchFrom(one, honest, blob, 0)).resolves.toMatchObject({ signer: one.identity.peerId });
  });
});

describe('a piece', () => {
  test('names the member that signed it, not the one that relayed it', async () => {
    const [asker, relay, signer] = [await agent(), await agent(), await agent()];
    await connect(asker, relay);
    const blob = randomBlob(1_000);
    const attestation = attestedBy(signer, blob, 0);
    relay.holdings.put(blob, 0, attestation);
    await expect(fetchFrom(asker, relay, blob, 0)).resolves.toMatchObject({ signer: signer.identity.peerId });
    expect(asker.network.signerOf(attestation)).toBe(signer.identity.peerId);
    expect(signer.network.signerOf(attestation)).toBe(signer.identity.peerId);
  });

  test('signed by a barred member is refused, and the relay is not to blame', async () => {
    const [asker, relay, liar] = [await agent(), await agent(), await agent()];
    await connect(asker, relay);
    const blob = randomBlob(600_000);
    relay.holdings.put(blob, 0, attestedBy(liar, blob, 0));
    relay.holdings.put(blob, 1, attestedBy(relay, blob, 1));
    asker.network.bar([liar.identity.peerId]);
    await expect(fetchFrom(asker, relay, blob, 0)).rejects.toMatchObject({
      code: 'barred-signer',
      peerIsToBlame: false,
    });
    await expect(fetchFrom(asker, relay, blob, 1)).resolves.toBeDefined();
    expect(asker.network.connected()).toHaveLength(1);
    asker.network.bar([]);
    await expect(fetchFrom(asker, relay, blob, 0)).resolves.toBeDefined();
  });

  test('whose signer is barred while it comes is refused, too', async () => {
    const [asker, relay, liar] = [
      await agent(),
      // Two seconds for the whole piece.
      await agent({ uploadBytesPerSecond: 128 * 1024 }),
      await agent(),
    ];
    await connect(asker, relay);
    const blob = randomBlob(256 * 1024);
    relay.holdings.put(blob, 0, attestedBy(liar, blob, 0));
    const fetching = fetchFrom(asker, relay, blob, 0);
    setTimeout(() => asker.network.bar([liar.identity.peerId]), 300);
    await expect(fetching).rejects.toMatchObject({ code: 'barred-signer' });
  });
});

test('no signer is named of what is no attestation of this cluster', async () => {
  const one = await agent();
  const stranger = await startAgent(new TestCluster());
  running.push(stranger);
  const unjoined = await agent({ membership: () => undefined });
  const blob = randomBlob(1_000);
  expect(one.network.signerOf(new Uint8Array(0))).toBeUndefined();
  expect(one.network.signerOf(Buffer.from('not an attestation'))).toBeUndefined();
  expect(one.network.signerOf(attestedBy(stranger, blob, 0))).toBeUndefined();
  expect(unjoined.network.signerOf(attestedBy(one, blob, 0))).toBeUndefined();
});
