import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { streamPair } from '@libp2p/utils';
import { decodeDialBackBody, encodeDialBackFrame } from '@shoal/wire';
import type { Uint8ArrayList } from 'uint8arraylist';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, startAgent, type TestAgent, TestCluster, until } from './cluster.fixture.ts';
import { DialBack } from './dial-back.ts';
import type { PeerNetworkOptions } from './network.ts';
import { agentContext } from './tls/tls-transport.ts';

const CLOSED = '/ip4/127.0.0.2/tcp/9';

let cluster: TestCluster;
let agents: TestAgent[];

beforeEach(() => {
  cluster = new TestCluster();
  agents = [];
});
afterEach(() => Promise.all(agents.map(({ network }) => network.stop())));

async function start(options: Partial<PeerNetworkOptions> = {}): Promise<TestAgent> {
  const agent = await startAgent(cluster, options);
  agents.push(agent);
  return agent;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('an agent that asks to be dialled back', () => {
  it('is told by each member at which of its addresses it answered', async () => {
    const [member, other] = [await start(), await start()];
    const own = `/ip4/127.0.0.1/tcp/${await freePort()}`;
    const asker = await start({ listen: [own], announce: [own, CLOSED] });
    await connect(asker, member);
    await connect(asker, other);
    const findings = await asker.network.dialBack(AbortSignal.timeout(5_000));
    expect(findings.map(({ peerId }) => peerId).sort()).toEqual([member.record.peerId, other.record.peerId].sort());
    for (const { outcome, tried } of findings) {
      expect(outcome).toBe('answered');
      expect(tried).toEqual([
        { address: own, reached: true },
        { address: CLOSED, reached: false },
      ]);
    }
    // The proof is no connection of its own: the ones that were there stay, and no other is made.
    expect(asker.network.links()).toMatchObject({ outbound: 2, inbound: 0, inboundSoFar: 0 });
  });

  it('is not taken for another agent that answers at an address which it claims', async () => {
    const [member, victim] = [await start(), await start()];
    const asker = await start({ announce: victim.record.addresses });
    await connect(asker, member);
    expect(await asker.network.dialBack(AbortSignal.timeout(5_000))).toMatchObject([
      { outcome: 'answered', tried: [{ address: victim.record.addresses[0], reached: false }] },
    ]);
    expect(victim.network.links().inboundSoFar).toBe(0);
  });

  it('asks nobody again for a while, and nobody where it is connected to none', async () => {
    const [member, asker] = [await start(), await start()];
    expect(await asker.network.dialBack(AbortSignal.timeout(5_000))).toEqual([]);
    await connect(asker, member);
    const first = await asker.network.dialBack(AbortSignal.timeout(5_000));
    expect(first).toMatchObject([{ outcome: 'answered' }]);
    await member.network.stop();
    await until(() => asker.network.connected().length === 0);
    expect(await asker.network.dialBack(AbortSignal.timeout(5_000))).toEqual([]);
  });
});

describe('a member that is asked', () => {
  /** What it answers to questions one after the other. */
  async function answers(host: string, addresses: string[], count: number): Promise<unknown[]> {
    const dialBack = new DialBack({ context: agentContext(randomBytes(32)), now: () => 0 });
    const peerId = (await start()).record.peerId;
    const told: unknown[] = [];
    for (let asked = 0; asked < count; asked++) {
      const [near, far] = await streamPair();
      const answer = new Promise((resolve) => {
        near.addEventListener('message', ({ data }: { data: Uint8Array | Uint8ArrayList }) =>
          resolve(decodeDialBackBody(data.subarray().subarray(4))),
        );
      });
      const served = dialBack.serve(far, { peerId, host, addresses });
      near.send(encodeDialBackFrame({ type: 'ask' }));
      told.push(await answer);
      near.abort(new Error('done'));
      await served;
    }
    dialBack.stop();
    return told;
  }

  it('takes as long for every port where the asker is not, whether it is open or closed, and no longer than it must where it is', async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const open = `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`;
    const answered = [open, CLOSED, '/dns4/localhost/udp/1'].map(async (address) => {
      const startedAtMs = performance.now();
      await answers('127.0.0.1', [address], 1);
      return performance.now() - startedAtMs;
    });
    for (const tookMs of await Promise.all(answered)) expect(tookMs).toBeGreaterThan(1_500);
    server.close();
    const [member, asker] = [await start(), await start()];
    await connect(asker, member);
    const startedAtMs = performance.now();
    expect(await asker.network.dialBack(AbortSignal.timeout(5_000))).toMatchObject([{ tried: [{ reached: true }] }]);
    expect(performance.now() - startedAtMs).toBeLessThan(1_500);
  });

  it('knows its own machine by every address that it has', async () => {
    const addresses = Object.values(networkInterfaces()).flatMap((of) => of ?? []);
    const own = addresses.map(({ family, address }) => `/${family === 'IPv6' ? 'ip6' : 'ip4'}/${address}/tcp/22`);
    expect(own.length).toBeGreaterThan(0);
    expect(await answers('203.0.113.9', own.slice(-8), 1)).toEqual([{ type: 'answer', tried: [] }]);
  });

  it('dials its own machine for nobody from elsewhere, and eight addresses at most', async () => {
    const own = ['/ip4/127.0.0.1/tcp/22', '/ip4/169.254.169.254/tcp/80', '/ip6/::1/tcp/22', '/dns4/localhost/tcp/22'];
    expect(await answers('10.0.0.9', [...own, '/ip4/127.0.0.1/udp/53'], 1)).toEqual([{ type: 'answer', tried: [] }]);
    const many = Array.from({ length: 12 }, (_, index) => `/ip4/127.0.0.2/tcp/${index + 1}`);
    const [answer] = (await answers('127.0.0.1', many, 1)) as [{ tried: unknown[] }];
    expect(answer.tried).toHaveLength(8);
  });

  it('does so twice, and then refuses', async () => {
    expect(await answers('127.0.0.1', [], 3)).toEqual([
      { type: 'answer', tried: [] },
      { type: 'answer', tried: [] },
      { type: 'refuse' },
    ]);
  });
});
