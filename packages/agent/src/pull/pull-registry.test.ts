import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClientAuthorization } from '../origin/asker.ts';
import { OriginError } from '../origin/origin-client.ts';
import { PeerError } from '../peers/peer-network.ts';
import { RateLimit } from '../rate/rate-limit.ts';
import { StoreError } from '../store/blob-store.ts';
import {
  blob,
  content,
  digest,
  never,
  PIECE_BYTES,
  PullStage,
  pieceCount,
  readAll,
  source,
  withWrongPieces,
} from './scripted-sources.fixture.ts';

describe('pulls', () => {
  let stage: PullStage;

  beforeEach(async () => {
    stage = await PullStage.make();
  });

  afterEach(() => stage[Symbol.asyncDispose]());

  it('serves simultaneous readers, whole and ranged, from one read of the origin', async () => {
    await stage.start();
    const reads = [0, 0, 1_234_567].map(async (offset) => readAll(await stage.open(offset), offset));
    const [first, second, tail] = await Promise.all(reads);
    expect(first?.equals(content)).toBe(true);
    expect(second?.equals(content)).toBe(true);
    expect(tail?.equals(content.subarray(1_234_567))).toBe(true);
    expect(stage.origin.sentBytes).toBe(content.length);
    expect(stage.origin.reads).toHaveLength(1);
    await expect.poll(() => stage.tracker.have).toEqual([blob]);
  });

  it('keeps what is in the background below its rate until a client reads the same', async () => {
    await stage.start();
    // After the first take, nothing passes within this test.
    const lane = new RateLimit({ bytesPerSecond: 1_000 }, () => 0).lane();
    const { signal } = new AbortController();
    const errand = await stage.pulls.open(digest, { ...source, background: { lane } }, content.length, signal);
    await expect.poll(() => stage.origin.sentBytes).toBeGreaterThan(0);
    const arrived = errand.keeping?.arrived(signal) ?? expect.fail('not kept');
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(stage.origin.sentBytes).toBeLessThan(content.length);
    const client = await stage.open();
    expect((await readAll(client)).equals(content)).toBe(true);
    await arrived;
    expect(errand.keeping?.progress()).toEqual({ heldBytes: content.length, fromPeers: 0, fromOrigin: content.length });
    errand.close();
    expect(stage.origin.sentBytes).toBe(content.length);
    const again = await stage.pulls.open(digest, { ...source, background: { lane } }, content.length, signal);
    await again.keeping?.arrived(signal);
    expect(again.keeping?.progress()).toEqual({ heldBytes: content.length, fromPeers: 0, fromOrigin: 0 });
    again.close();
  });

  it('lets go of what is in the background as soon as it is not wanted', async () => {
    await stage.start();
    const lane = new RateLimit({ bytesPerSecond: 1_000 }, () => 0).lane();
    const stop = new AbortController();
    const errand = await stage.pulls.open(digest, { ...source, background: { lane } }, content.length, stop.signal);
    const arrived = errand.keeping?.arrived(stop.signal);
    stop.abort(new Error('not wanted'));
    await expect(arrived).rejects.toThrow('not wanted');
    errand.close();
    await expect.poll(() => stage.pulls.openCount()).toBe(0);
    expect(stage.origin.sentBytes).toBeLessThan(content.length);
  });

  it('reads the store alone once the blob is committed', async () => {
    await stage.start();
    await readAll(await stage.open());
    const again = await readAll(await stage.open(10), 10, 2_000);
    expect(again.equals(content.subarray(10, 2_000))).toBe(true);
    expect(stage.origin.reads).toHaveLength(1);
  });

  it('notices a committed blob that changed on the disk, sends none of it, and pulls it again', async () => {
    await stage.start();
    await readAll(await stage.open());
    const file = join(stage.dataDir, 'blobs', 'sha256', `${digest.slice('sha256:'.length)}@r.test`);
    await expect.poll(() => stage.tracker.have).toEqual([blob]);
    const damaged = Buffer.from(content);
    damaged[300_000] = (damaged[300_000] ?? 0) ^ 1;
    await writeFile(file, damaged);
    const reader = await stage.open(PIECE_BYTES);
    await expect(readAll(reader, PIECE_BYTES)).rejects.toMatchObject({ code: 'digest-mismatch' });
    const again = await readAll(await stage.open());
    expect(again.equals(content)).toBe(true);
    expect(stage.origin.reads).toHaveLength(2);
  });

  it('4: takes up a broken body at the piece where it broke', async () => {
    let failures = 0;
    stage.origin.onChunk = (position) => {
      if (position >= 1_000_000 && failures++ < 1) throw new OriginError('unreachable', 'reset');
    };
    await stage.start();
    const bytes = await readAll(await stage.open());
    expect(bytes.equals(content)).toBe(true);
    expect(stage.origin.reads).toHaveLength(2);
    expect(stage.origin.reads[1]?.offset).toBe(786_432);
  });

  it('1: never completes a body whose bytes do not match, keeps nothing, and asks the origin alone afterwards', async () => {
    stage.origin.bytes = withWrongPieces([0]);
    await stage.start();
    const reader = await stage.open();
    let received = 0;
    await expect(async () => {
      for await (const chunk of reader.bytes(0, undefined, never)) received += chunk.length;
    }).rejects.toMatchObject({ code: 'mismatch' });
    reader.close();
    expect(received).toBeLessThan(content.length);
    expect(await stage.store.find(blob)).toBeUndefined();

    stage.origin.bytes = content;
    const listening = stage.peers.listeners.length;
    const bytes = await readAll(await stage.open());
    expect(bytes.equals(content)).toBe(true);
    expect(stage.peers.listeners).toHaveLength(listening);
  });

  it('takes every piece from a member that holds the blob, when the origin refuses', async () => {
    stage.origin.onOpen = () => {
      throw new OriginError('not-found', '404');
    };
    await stage.start();
    const opening = stage.open();
    await expect.poll(() => stage.peers.listeners.length).toBe(1);
    stage.peers.hold();
    const bytes = await readAll(await opening);
    expect(bytes.equals(content)).toBe(true);
    expect(new Set(stage.peers.served).size).toBe(pieceCount);
  });

  it('1: goes on from the origin when a member sends pieces that do not verify', async () => {
    await stage.start();
    stage.peers.respond = () => {
      throw new PeerError('corrupt', 'wrong bytes');
    };
    const opening = stage.open();
    await expect.poll(() => stage.peers.listeners.length).toBe(1);
    stage.peers.hold();
    const bytes = await readAll(await opening);
    expect(bytes.equals(content)).toBe(true);
  });

  it('rejects soon with what the origin said when nobody has the blob', async () => {
    stage.origin.onOpen = () => {
      throw new OriginError('not-found', '404');
    };
    await stage.start();
    const startedAt = Date.now();
    await expect(stage.open()).rejects.toMatchObject({ code: 'not-found' });
    expect(Date.now() - startedAt).toBeLessThan(8_000);
  });

  it('passes a blob larger than the cache through, and keeps nothing', async () => {
    await stage.start(1_000_000);
    const bytes = await readAll(await stage.open());
    expect(bytes.equals(content)).toBe(true);
    const part = await readAll(await stage.open(100), 100, 300);
    expect(part.equals(content.subarray(100, 300))).toBe(true);
    expect(await stage.store.find(blob)).toBeUndefined();
  });

  it('cuts a passed-through body short when its bytes do not match', async () => {
    stage.origin.bytes = withWrongPieces([0]);
    await stage.start(1_000_000);
    const reader = await stage.open();
    let received = 0;
    await expect(async () => {
      for await (const chunk of reader.bytes(0, undefined, never)) received += chunk.length;
    }).rejects.toMatchObject({ code: 'mismatch' });
    reader.close();
    expect(received).toBeLessThan(content.length);
  });

  describe.each([
    [1, true],
    [5, true],
    [5, false],
  ])('when the disk is full from piece %i on, and the hash of what was sent is at hand: %s', (fullFrom, isHashed) => {
    async function readWithFullDisk(onFull = () => {}): Promise<Buffer> {
      await stage.start();
      const partial = stage.store.partial.bind(stage.store);
      stage.store.partial = async (wanted, sizeBytes) => {
        const opened = await partial(wanted, sizeBytes);
        const write = opened.write.bind(opened);
        opened.write = async (index, ...rest) => {
          if (index < fullFrom) return write(index, ...rest);
          onFull();
          throw new StoreError('disk-full', 'no space left');
        };
        if (!isHashed) opened.hashBefore = () => undefined;
        return opened;
      };
      return readAll(await stage.open());
    }

    it('the rest passes by the store', async () => {
      expect((await readWithFullDisk()).equals(content)).toBe(true);
      expect(await stage.store.find(blob)).toBeUndefined();
    });

    it('a wrong byte in the rest still cuts the body short', async () => {
      stage.origin.bytes = withWrongPieces([pieceCount - 1]);
      await expect(readWithFullDisk()).rejects.toMatchObject({ code: 'mismatch' });
    });

    it('a wrong byte before that is in no complete body, whatever the origin has since', async () => {
      stage.origin.bytes = withWrongPieces([0]);
      const outcome: unknown = await readWithFullDisk(() => {
        stage.origin.bytes = content;
      }).catch((error: unknown) => error);
      // Where nothing had been sent yet, all of it was read again.
      if (Buffer.isBuffer(outcome)) expect(outcome.equals(content)).toBe(true);
      else expect(outcome).toMatchObject({ code: 'mismatch' });
    });
  });

  it('resumes a half-pulled blob after a restart', async () => {
    stage.origin.onChunk = (position) => {
      if (position >= 1_600_000) throw new OriginError('refused', 'no more');
    };
    await stage.start();
    const reader = await stage.open();
    await expect(readAll(reader)).rejects.toThrow();
    await stage.stop();

    stage.origin.onChunk = () => {};
    stage.origin.sentBytes = 0;
    await stage.start();
    const bytes = await readAll(await stage.open());
    expect(bytes.equals(content)).toBe(true);
    expect(stage.origin.sentBytes).toBeLessThanOrEqual(content.length - 6 * PIECE_BYTES);
  });

  it('lets a client that aborts go, and the pull on', async () => {
    await stage.start();
    const abort = new AbortController();
    const reader = await stage.pulls.open(digest, source, 0, abort.signal);
    const reading = (async () => {
      for await (const _ of reader.bytes(0, undefined, abort.signal)) abort.abort();
    })();
    await expect(reading).rejects.toThrow();
    reader.close();
    const bytes = await readAll(await stage.open());
    expect(bytes.equals(content)).toBe(true);
    expect(stage.origin.reads).toHaveLength(1);
  });

  it('goes on for everybody when a client comes back with a fresh token, after the origin refused the old one', async () => {
    await stage.start();
    const [old, fresh] = [ClientAuthorization.from('Bearer old')!, ClientAuthorization.from('Bearer fresh')!];
    const askers: unknown[] = [];
    stage.origin.onOpen = ({ asker }) => {
      askers.push(asker);
      if (asker === old && askers.length > 1) throw new OriginError('unauthorized', 'expired', { status: 401 });
    };
    stage.origin.onChunk = (position) => {
      if (askers.length === 1 && position > 1_000_000) throw new OriginError('cut-short', 'cut');
    };
    const reading = readAll(await stage.open(0, old));
    await expect.poll(() => askers.length, { timeout: 5_000 }).toBe(2);
    const again = readAll(await stage.open(500_000, fresh), 500_000);
    expect((await reading).equals(content)).toBe(true);
    expect((await again).equals(content.subarray(500_000))).toBe(true);
    expect(new Set(askers)).toEqual(new Set([old, fresh]));
  });

  it('ends with the origin’s refusal when no token opens it', async () => {
    await stage.start();
    const challenge = ['Bearer realm="https://auth.test/"'];
    stage.origin.onOpen = () => {
      throw new OriginError('unauthorized', 'expired', { status: 401, challenge });
    };
    await expect(stage.open(0, ClientAuthorization.from('Bearer old')!)).rejects.toMatchObject({ challenge });
  });

  it('tells a client of no login that the registry wants of another one', async () => {
    await stage.start();
    const challenge = ['Bearer realm="https://auth.test/"'];
    let refuse = (): void => {};
    const refused = new Promise<void>((resolve) => {
      refuse = resolve;
    });
    stage.origin.onOpen = ({ asker }) => {
      if (asker !== 'anonymous') throw new OriginError('unreachable', 'down');
      stage.origin.onChunk = async () => {
        await refused;
        throw new OriginError('unauthorized', 'log in', { status: 401, challenge });
      };
    };
    const stranger = stage.open(0, 'anonymous').catch((error: unknown) => error);
    const member = stage.open(0, 'node').catch((error: unknown) => error);
    await new Promise((resolve) => setTimeout(resolve, 50));
    refuse();
    expect(await stranger).toMatchObject({ code: 'unauthorized', challenge });
    expect(await member).toMatchObject({ code: 'unreachable', challenge: undefined });
  });

  it('asks with every login before it gives up, whichever comes while another is being refused', async () => {
    await stage.start();
    const logins = ['one', 'two', 'three'].map((name) => ClientAuthorization.from(`Bearer ${name}`)!);
    const asked: unknown[] = [];
    stage.origin.onOpen = ({ asker }) => {
      asked.push(asker);
      if (asker !== logins[2]) throw new OriginError('unauthorized', 'no', { status: 401 });
    };
    const readers = await Promise.all(logins.map((login) => stage.open(0, login)));
    for (const read of await Promise.all(readers.map((reader) => readAll(reader))))
      expect(read.equals(content)).toBe(true);
    expect(asked.at(-1)).toBe(logins[2]);
  });

  describe('a blob that two registries name', () => {
    const elsewhere = { ...source, repository: { registry: 'evil.test', name: 'org/app' } };
    const openElsewhere = () => stage.pulls.open(digest, elsewhere, 0, never);

    it('is read from each of them, whatever the other one gave out', async () => {
      await stage.start();
      await readAll(await stage.open());
      await expect.poll(() => stage.tracker.have).toEqual([blob]);
      stage.origin.bytes = withWrongPieces([1]);
      await expect(openElsewhere().then((reader) => readAll(reader))).rejects.toMatchObject({ code: 'mismatch' });
      stage.origin.bytes = content;
      expect((await readAll(await openElsewhere())).equals(content)).toBe(true);
      expect(stage.origin.sentBytes).toBeGreaterThanOrEqual(3 * content.length);
      await expect.poll(() => stage.tracker.have).toEqual([blob, blob.replace('r.test', 'evil.test')]);
    });

    it('joins no pull under way of the other one', async () => {
      await stage.start();
      const first = await stage.open();
      stage.origin.onOpen = () => {
        throw new OriginError('not-found', 'no such blob', { status: 404 });
      };
      await expect(openElsewhere()).rejects.toMatchObject({ code: 'not-found' });
      stage.origin.onOpen = () => {};
      expect((await readAll(first)).equals(content)).toBe(true);
    });
  });
});
