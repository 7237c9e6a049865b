/** An agent whose mirror's socket is held by others (systemd's socket activation), killed and restarted under its clients. */
import { createHash } from 'node:crypto';
import { get, type IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { request } from 'undici';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ActivatedAgent } from '../support/daemon/activated-agent.ts';
import { type Content, FaultOrigin, syntheticContent } from '../support/fault-origin.ts';
import { runShoal } from '../support/run-shoal.ts';
import { describeWith } from './requirement.ts';

const MiB = 1024 * 1024;
const soon = { timeout: 15_000, interval: 20 };
/** More than the buffers of both ends of a connection hold. */
const LARGE_BYTES = 24 * MiB + 3;

describeWith('systemd-socket-activate', 'a mirror at a socket that systemd holds', () => {
  let resources: AsyncDisposableStack;
  let origin: FaultOrigin;
  let large: Content;
  let small: Content;

  beforeEach(async () => {
    resources = new AsyncDisposableStack();
    origin = resources.use(await FaultOrigin.start());
    large = await syntheticContent('activation large', LARGE_BYTES);
    small = await syntheticContent('activation small', 3 * MiB);
    for (const content of [large, small]) origin.addBlob('org/app', content);
  });
  afterEach(() => resources.disposeAsync());

  async function start(...more: string[]): Promise<ActivatedAgent> {
    return resources.use(await ActivatedAgent.start(['--registry', `registry.test=${origin.url}`, ...more]));
  }

  const urlOf = (agent: ActivatedAgent, { digest }: Content) =>
    `${agent.mirrorUrl}/v2/registry.test/org/app/blobs/${digest}`;

  /** On a connection of its own, so that one that is refused is seen. @throws when the body is not the content */
  async function pull(agent: ActivatedAgent, content: Content): Promise<void> {
    const answer = await request(urlOf(agent, content), { reset: true });
    const hash = createHash('sha256').update(Buffer.from(await answer.body.arrayBuffer()));
    expect([answer.statusCode, `sha256:${hash.digest('hex')}`]).toEqual([200, content.digest]);
  }

  const readBytes = ({ digest }: Content) => origin.stats().byDigest[digest]?.bytes ?? 0;

  test('killed between two requests: the next one waits for the next agent, and what was kept is not read again', async () => {
    const agent = await start();
    await pull(agent, large);
    agent.signal('SIGKILL');
    await pull(agent, large);
    await pull(agent, small);
    expect(agent.readyCount).toBe(2);
    expect([readBytes(large), readBytes(small)]).toEqual([large.sizeBytes, small.sizeBytes]);
    const doctor = await runShoal('doctor', '--admin', new URL(agent.adminUrl).host, '--only', 'ports', '--json');
    expect([doctor.code, doctor.stderr]).toEqual([0, '']);
    const held = `mirror ${new URL(agent.mirrorUrl).host} (held by systemd: clients wait for the agent)`;
    expect(doctor.stdout).toContain(held);
  });

  test('killed in a body: the client goes on at its offset with the next agent, and no byte is read twice that was kept', async () => {
    const agent = await start();
    await pull(agent, large);
    const first = await startBody(urlOf(agent, large));
    const parts: Buffer[] = [];
    const broken = (async () => {
      for await (const chunk of first) {
        parts.push(chunk as Buffer);
        if (parts.length === 1) agent.signal('SIGKILL');
      }
    })();
    await expect(broken).rejects.toMatchObject({ code: 'ECONNRESET' });
    const received = Buffer.concat(parts);
    expect(received.length).toBeLessThan(LARGE_BYTES);
    const rest = await request(urlOf(agent, large), { headers: { range: `bytes=${received.length}-` }, reset: true });
    expect(rest.statusCode).toBe(206);
    const whole = Buffer.concat([received, Buffer.from(await rest.body.arrayBuffer())]);
    expect(`sha256:${createHash('sha256').update(whole).digest('hex')}`).toBe(large.digest);
    expect(readBytes(large)).toBe(LARGE_BYTES);
  });

  test('told to stop: the body under way ends, and new connections wait for the next agent', async () => {
    const agent = await start('--drain-timeout', '30s');
    await pull(agent, large);
    const slow = await startBody(urlOf(agent, large));
    agent.signal('SIGTERM');
    await expect.poll(() => agent.log, soon).toContain('new ones wait for the next agent');
    let isAnswered = false;
    const waiting = pull(agent, small).then(() => {
      isAnswered = true;
    });
    await sleep(300);
    expect([isAnswered, agent.readyCount]).toEqual([false, 1]);
    const hash = createHash('sha256');
    for await (const chunk of slow) hash.update(chunk as Buffer);
    expect(`sha256:${hash.digest('hex')}`).toBe(large.digest);
    await waiting;
    expect(agent.log).toContain('agent over 0');
    expect(agent.readyCount).toBe(2);
  });

  test('a socket at another address than the setting ends the start, with both', async () => {
    const args = ['--registry', `registry.test=${origin.url}`];
    const agent = resources.use(await ActivatedAgent.start(args, '127.0.0.1:7399'));
    const unanswered = request(urlOf(agent, small), { reset: true }).catch((error: Error) => error);
    await expect.poll(() => agent.log, soon).toContain('agent over 2');
    expect(agent.log).toContain(
      `shoal agent: the socket that is handed over is at ${new URL(agent.mirrorUrl).host}, and the mirror set to 127.0.0.1:7399. ` +
        'Make ListenStream= in shoal-agent.socket and mirror in agent.yaml (--mirror) the same',
    );
    await agent[Symbol.asyncDispose]();
    expect(await unanswered).toBeInstanceOf(Error);
  });

  test('a socket that is not TCP ends the start', async () => {
    const agent = resources.use(await ActivatedAgent.start([], '127.0.0.1:7399', true));
    const client = connect(agent.at).on('error', () => undefined);
    resources.defer(() => void client.destroy());
    await expect.poll(() => agent.log, soon).toContain('agent over 1');
    expect(agent.log).toContain(
      'shoal agent: cannot listen on the socket that is handed over (descriptor 3): it is not a TCP socket. ' +
        'Check ListenStream= in shoal-agent.socket',
    );
  });
});

/** The head of the answer to a GET, its body not read yet. */
function startBody(url: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, resolve).on('error', reject);
  });
}
