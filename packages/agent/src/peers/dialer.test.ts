import type { PeerRecord } from '@shoal/wire';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { Dialer } from './dialer.ts';

const peer = (peerId: string): PeerRecord => ({ peerId, addresses: [], zone: '' });
const settle = () => new Promise((resolve) => setImmediate(resolve));

function dialer(overrides: { wanted?: (peerId: string) => boolean } = {}) {
  const dials: { peerId: string; signal: AbortSignal; end: (error?: Error) => void }[] = [];
  const time = { nowMs: 1_000_000 };
  const subject = new Dialer({
    connect: ({ peerId }, signal) =>
      new Promise((resolve, reject) => {
        dials.push({ peerId, signal, end: (error) => (error === undefined ? resolve() : reject(error)) });
      }),
    wanted: overrides.wanted ?? (() => true),
    clock: () => time.nowMs,
    random: () => 1,
    logger: pino({ level: 'silent' }),
  });
  return { subject, dials, time };
}

test('at most eight at once, each once, the rest in turn', async () => {
  const { subject, dials } = dialer();
  const peers = [...Array(12).keys()].map((n) => peer(`p${n}`));
  subject.dial([...peers, ...peers]);
  subject.dial(peers);
  expect(dials.map(({ peerId }) => peerId)).toEqual(peers.slice(0, 8).map(({ peerId }) => peerId));
  for (const { end } of [...dials]) end();
  await settle();
  expect(dials.map(({ peerId }) => peerId)).toEqual(peers.map(({ peerId }) => peerId));
});

test('a peer that failed is left alone for longer each time, up to 30 s, until it succeeds', async () => {
  const { subject, dials, time } = dialer();
  const waits: number[] = [];
  for (let round = 0; round < 9; round++) {
    subject.dial([peer('p')]);
    dials.at(-1)?.end(new Error('refused'));
    await settle();
    const failedAtMs = time.nowMs;
    const count = dials.length;
    while (dials.length === count) {
      time.nowMs += 250;
      subject.dial([peer('p')]);
    }
    waits.push(time.nowMs - failedAtMs);
    subject.succeeded('p');
    if (round < 8) for (let again = 0; again <= round; again++) subject.failed('p');
    time.nowMs += 30_000;
    dials.at(-1)?.end();
    await settle();
  }
  expect(waits[0]).toBe(500);
  expect(Math.max(...waits)).toBe(30_000);
  expect(waits.slice(0, -1)).toEqual([...waits.slice(0, -1)].sort((one, other) => one - other));
});

test('what became unwanted in the queue is not dialled', async () => {
  const connected = new Set<string>();
  const { subject, dials } = dialer({ wanted: (peerId) => !connected.has(peerId) });
  subject.dial([...Array(10).keys()].map((n) => peer(`p${n}`)));
  connected.add('p8');
  dials[0]?.end();
  await settle();
  expect(dials.map(({ peerId }) => peerId)).toContain('p9');
  expect(dials.map(({ peerId }) => peerId)).not.toContain('p8');
});

test('stopping aborts what is under way and dials nothing more', async () => {
  const { subject, dials } = dialer();
  subject.dial([peer('p')]);
  subject.stop();
  expect(dials[0]?.signal.aborted).toBe(true);
  dials[0]?.end(new Error('aborted'));
  await settle();
  subject.dial([peer('q')]);
  expect(dials).toHaveLength(1);
});
