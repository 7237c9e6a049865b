import { randomBytes, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { multiaddr } from '@multiformats/multiaddr';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { identityOfSeed } from '../identity.ts';
import { createNode, type Node } from '../libp2p-node.ts';
import { peerIdOfCertificate, tlsIdentity } from './tls-certificate.ts';

const ALPN = ['shoal/3'];
const TIMEOUT_MS = 10_000;
/** A self-signed certificate of a P-256 key. */
const OTHER_CERTIFICATE = `-----BEGIN CERTIFICATE-----
MIIBdzCCAR2gAwIBAgIUOArrS5pIyn7fsSZEI7/Byn3ND+kwCgYIKoZIzj0EAwIw
EDEOMAwGA1UEAwwFc2hvYWwwIBcNMjYxMTIxMjAwNTE4WhgPMjEyNjEwMjgyMDA1
MThaMBAxDjAMBgNVBAMMBXNob2FsMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
e1ijDK/5lazwqXsVBIaUQkBPQYBlaSLJONgItCAa9vDmh7ePhT2nLhe9zcsSPRo0
DH7JnZcePtsYDwAKt9uqgqNTMFEwHQYDVR0OBBYEFBYpB5RjkDQaMe35PcILzyPo
lYYWMB8GA1UdIwQYMBaAFBYpB5RjkDQaMe35PcILzyPolYYWMA8GA1UdEwEB/wQF
MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgDij9OYu/pL5rEf/QeST5Bg022843BbXq
EEbnWbt1YCICIQDWMYJdXYcu7tQlZ8tfIWRzZRHiHE/30LLCEOtW+0Z7Qw==
-----END CERTIFICATE-----
`;

function certificateOf(seed: Uint8Array): X509Certificate {
  return new X509Certificate(String(tlsIdentity(seed).cert));
}

describe('the certificate of an agent', () => {
  it('is signed by its own key, which is the identity, and holds whatever the clock says', () => {
    const seed = randomBytes(32);
    const certificate = certificateOf(seed);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkIssued(certificate)).toBe(true);
    expect([certificate.validFromDate.getUTCFullYear(), certificate.validToDate.getUTCFullYear()]).toEqual([
      1970, 9999,
    ]);
    expect(peerIdOfCertificate(certificate)).toBe(identityOfSeed(seed).peerId);
  });

  it('of another kind of key is nobody', () => {
    expect(peerIdOfCertificate(new X509Certificate(OTHER_CERTIFICATE))).toBeUndefined();
  });
});

describe('connections', () => {
  const seed = randomBytes(32);
  let node: Node;
  let port: number;
  let clients: Socket[];

  beforeEach(async () => {
    clients = [];
    const listen = ['/ip4/127.0.0.1/tcp/0'];
    node = await createNode({ privateKeySeed: seed, listen, announce: [], maxConnections: 10 });
    await node.start();
    port = Number(/tcp\/(\d+)/.exec(String(node.getMultiaddrs()[0]))?.[1]);
  });
  afterEach(async () => {
    for (const client of clients) client.destroy();
    await node.stop();
  });

  function tlsClient(options: ConnectionOptions = {}): TLSSocket {
    const client = connectTls({ port, rejectUnauthorized: false, ALPNProtocols: ALPN, ...options });
    client.on('error', () => {}).resume();
    clients.push(client);
    return client;
  }

  const ofAgent = (): ConnectionOptions => tlsIdentity(randomBytes(32));
  const closed = (client: Socket) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('still open')), TIMEOUT_MS);
      client.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });

  it('begin between agents that show who they are', async () => {
    const otherSeed = randomBytes(32);
    const other = await createNode({ privateKeySeed: otherSeed, listen: [], announce: [], maxConnections: 10 });
    await other.start();
    const connection = await other.dial(multiaddr(`/ip4/127.0.0.1/tcp/${port}`));
    expect(connection.remotePeer.toString()).toBe(identityOfSeed(seed).peerId);
    await expect.poll(() => node.getPeers().map(String)).toEqual([identityOfSeed(otherSeed).peerId]);
    await other.stop();
    await expect.poll(() => node.getPeers()).toEqual([]);
  });

  it('do not begin with another agent than the one that was dialled', async () => {
    const { peerId } = identityOfSeed(randomBytes(32));
    const other = await createNode({ privateKeySeed: randomBytes(32), listen: [], announce: [], maxConnections: 10 });
    await other.start();
    await expect(other.dial(multiaddr(`/ip4/127.0.0.1/tcp/${port}/p2p/${peerId}`))).rejects.toThrow(/is 12D3Koo/);
    expect(other.getConnections()).toEqual([]);
    await other.stop();
  });

  it.each<[string, () => ConnectionOptions]>([
    ['shows no certificate', () => ({})],
    ['speaks another protocol', () => ({ ...ofAgent(), ALPNProtocols: ['h2'] })],
    ['speaks none in particular', () => ({ ...ofAgent(), ALPNProtocols: [] })],
    ['insists on an older TLS', () => ({ ...ofAgent(), maxVersion: 'TLSv1.2' })],
  ])('end with whoever %s', async (_what, options) => {
    await closed(tlsClient(options()));
    expect(node.getConnections()).toEqual([]);
  });

  it('end with whoever comes back by a ticket instead of a certificate', async () => {
    const identity = ofAgent();
    const first = tlsClient(identity);
    const [session] = (await once(first, 'session')) as [Buffer];
    await expect.poll(() => node.getConnections().length).toBe(1);
    first.destroy();
    await expect.poll(() => node.getConnections().length).toBe(0);
    const second = tlsClient({ ...identity, session });
    await closed(second);
    expect(node.getConnections()).toEqual([]);
  });

  it('end with whoever asks what is spoken here, once that is told, also when he stays', {
    timeout: 2 * TIMEOUT_MS,
  }, async () => {
    const openSockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = openSockets();
    const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
    const client = tlsClient({ ...ofAgent(), socket, ALPNProtocols: ['shoal-versions/1'] });
    let told = '';
    client.on('data', (chunk) => {
      told += String(chunk);
    });
    await expect.poll(() => told).toBe('shoal/3\n');
    // This end keeps its side open; the other one has let go.
    await expect.poll(openSockets, { timeout: TIMEOUT_MS }).toBe(before + 1);
    expect(node.getConnections()).toEqual([]);
  });

  it('end with whoever does not speak TLS', async () => {
    const client = connectTcp(port, '127.0.0.1').on('error', () => {});
    clients.push(client);
    client.resume().write('GET /v2/ HTTP/1.1\r\nhost: shoal\r\n\r\n');
    await closed(client);
    expect(node.getConnections()).toEqual([]);
  });

  it('that take nothing of what they asked for end with their own end', { timeout: 4 * TIMEOUT_MS }, async () => {
    const openSockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
    const before = openSockets();
    const socket = connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true });
    const client = tlsClient({ ...ofAgent(), socket });
    await once(client, 'secureConnect');
    await expect.poll(() => node.getConnections().length).toBe(1);
    client.pause();
    // Each is answered: https://github.com/hashicorp/yamux/blob/master/spec.md
    const pings = Buffer.alloc(12 * 10_000);
    for (let at = 0; at < pings.length; at += 12) pings.set([0, 2, 0, 1], at);
    for (let round = 0; round < 60; round++) if (!client.write(pings)) await once(client, 'drain');
    client.end();
    await expect.poll(() => node.getConnections().length).toBe(0);
    await expect.poll(openSockets, { timeout: TIMEOUT_MS }).toBe(before + 1);
    await closed(client.resume());
  });

  it('that say nothing are few, keep out nobody from elsewhere, and end soon', {
    timeout: 4 * TIMEOUT_MS,
  }, async () => {
    const ends: Promise<unknown>[] = [];
    for (let index = 0; index < 60; index++) {
      const client = connectTcp(port, '127.0.0.1').on('error', () => {});
      clients.push(client.resume());
      ends.push(closed(client));
    }
    await Promise.race(ends);
    await sleep(200);
    const open = clients.filter(({ destroyed }) => !destroyed).length;
    expect(open).toBeGreaterThan(20);
    expect(open).toBeLessThanOrEqual(32);
    const socket = connectTcp({ port, host: '127.0.0.1', localAddress: '127.0.0.2' });
    await once(tlsClient({ ...ofAgent(), socket }), 'secureConnect');
    await expect.poll(() => node.getConnections().length).toBe(1);
    await Promise.all(ends);
    await once(tlsClient(ofAgent()), 'secureConnect');
    await expect.poll(() => node.getConnections().length).toBe(2);
  });
});
