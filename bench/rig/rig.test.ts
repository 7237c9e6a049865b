// The rig itself, in real network namespaces; skipped where there is no root.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readlinkSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { attempt } from '../../test/support/daemon/process.ts';
import { removeLeftovers } from './leftovers.ts';
import { checkLinks } from './link-check.ts';
import { Namespace } from './namespace.ts';
import { startTicks } from './proc.ts';
import { obstacle } from './requirements.ts';
import { RigName } from './rig-name.ts';
import { RigNetwork } from './rig-network.ts';

const reason = await obstacle();
const testRig = test.skipIf(reason !== undefined);
if (reason !== undefined) process.stderr.write(`skipped: the rig of the benches (${reason})\n`);

const TIMEOUT_MS = 60_000;
const LINK = 20e6;
const ORIGIN_LINK = 10e6;
/** What the bucket lets through at once, spread over the time of a measurement. */
const SPARE = 1.05;

async function ours(rig: RigName): Promise<string[]> {
  return (await Namespace.all()).map(({ name }) => name).filter((name) => name.startsWith(`${rig}-`));
}

testRig(
  'links carry no more than their rate, and nothing of the network is left',
  async () => {
    const rig = RigName.ofThisProcess();
    {
      await using network = await RigNetwork.create(rig, 'reno');
      const origin = await network.attach('origin', ORIGIN_LINK);
      const nodes = [await network.attach('node-1', LINK), await network.attach('node-2', LINK)];
      const rates = await checkLinks(origin, nodes, new AbortController().signal);
      expect(rates.fromOrigin * 8).toBeLessThan(ORIGIN_LINK * SPARE);
      expect(rates.fromOrigin * 8).toBeGreaterThan(0);
      for (const rate of rates.duplex!) expect(rate * 8).toBeLessThan(LINK * SPARE);
      // What left the origin came to the node: what crosses a link is counted once at either end.
      const sent = (await network.counts(origin)).up.bytes;
      const { down, up } = await network.counts(nodes[0]!);
      expect(down.bytes).toBeGreaterThan(sent);
      expect(up.bytes).toBeGreaterThan(rates.duplex![0]);
    }
    expect(await ours(rig)).toEqual([]);
  },
  TIMEOUT_MS,
);

testRig(
  'a link that is cut carries nothing until it is mended',
  async () => {
    await using network = await RigNetwork.create(RigName.ofThisProcess(), 'reno');
    const [near, far] = [await network.attach('near', LINK), await network.attach('far', LINK)];
    // Nothing listens there, so that an answer is a refusal.
    const script = `const s = require('net').connect(9, '${far.address}');
      s.setTimeout(2_000, () => process.exit(3)).on('error', ({ code }) => process.exit(code === 'ECONNREFUSED' ? 0 : 3))`;
    const asked = near.namespace.command(process.execPath, ['-e', script]);
    const reaches = async (): Promise<boolean> => (await attempt(asked.program, asked.args)).code === 0;
    expect(await reaches()).toBe(true);
    await network.cut(far);
    expect(await reaches()).toBe(false);
    await network.mend(far);
    await expect.poll(reaches, { timeout: 10_000 }).toBe(true);
  },
  TIMEOUT_MS,
);

testRig(
  'what a killed run has left is removed by the next one, what a running one has is not',
  async () => {
    const other = spawn('sleep', ['60']);
    await once(other, 'spawn');
    const dead = RigName.of(`shoal-rig-${other.pid}-${startTicks(other.pid!)}`)!;
    const folder = join(tmpdir(), `${dead}`);
    await mkdir(folder);
    const namespace = await Namespace.create(`${dead}-node-1`);
    const { program, args } = namespace.command('sleep', ['60']);
    const inside = spawn(program, args);
    const insideEnded = once(inside, 'exit');
    const networkOf = (pid: number | 'self'): string => readlinkSync(`/proc/${pid}/ns/net`);
    await expect.poll(() => networkOf(inside.pid!)).not.toBe(networkOf('self'));

    await removeLeftovers();
    expect(await ours(dead)).toEqual([namespace.name]);
    expect(existsSync(folder)).toBe(true);

    other.kill('SIGKILL');
    await once(other, 'exit');
    await removeLeftovers();
    expect(await ours(dead)).toEqual([]);
    expect(await readdir(tmpdir())).not.toContain(`${dead}`);
    expect((await insideEnded)[1]).toBe('SIGKILL');
  },
  TIMEOUT_MS,
);
