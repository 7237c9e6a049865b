import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { openIdentity } from '../identity/identity.ts';
import { TestMembers } from '../members/members.fixture.ts';
import { SoleSeat } from '../replica/seat.ts';
import { NOTHING_COUNTED, TrackerMetrics } from './metrics.ts';
import { ApiServer } from './server.ts';

const logger = pino({ level: 'silent' });

/** A replica that begins to lead while the call waits: only then it knows who is barred. */
class TakingOver extends SoleSeat {
  readonly #loaded: () => void;
  constructor(loaded: () => void) {
    super('an instance');
    this.#loaded = loaded;
  }
  override async serve(_call: unknown, here: () => unknown): Promise<unknown> {
    await Promise.resolve();
    this.#loaded();
    return here();
  }
}

test('whoever the former leader barred is refused by the next one, also when the call was let in before that knew', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-server-'));
  try {
    const members = new TestMembers();
    const [barred, other] = [await members.join(), await members.join()];
    const { tls } = await openIdentity(folder, logger);
    const seat = new TakingOver(() => members.barred.add(barred.peerId));
    const { membership } = members;
    const metrics = new TrackerMetrics(() => NOTHING_COUNTED);
    const server = new ApiServer({ tls }, { logger, clock: Date.now, membership, metrics, seat });
    const handled: string[] = [];
    server.memberCall('/v1/try', z.object({}), ({ peerId }) => {
      handled.push(peerId);
      return { ok: true };
    });
    const call = ({ session }: { session: string }) =>
      server.fastify.inject({
        method: 'POST',
        url: '/v1/try',
        headers: { authorization: `Bearer ${session}` },
        payload: {},
      });
    const refusal = await call(barred);
    expect([refusal.statusCode, refusal.json().error.code]).toEqual([403, 'BARRED']);
    expect((await call(other)).json()).toEqual({ ok: true });
    expect(handled).toEqual([other.peerId]);
    await server.fastify.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
