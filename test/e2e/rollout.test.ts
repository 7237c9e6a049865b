/** The bench that compares ways to roll an image out, in small: its numbers fit each other, and a broken run is told as one. */
import { readdir, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RigName } from '../../bench/rig/rig-name.ts';
import type { RolloutReading } from '../../bench/rollout/rollout.ts';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt, run } from '../support/daemon/process.ts';
import { describeSuite } from './suite.ts';

const MAIN = join(import.meta.dirname, '../../bench/main.ts');
const MiB = 1024 * 1024;
const TIMEOUT_MS = 150_000;
/** A pull-through cache on each node, as a system that somebody wants to compare. */
const RIVAL = `
cat > "$BENCH_FOLDER/config.yml" <<END
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $BENCH_FOLDER/data } }
http: { addr: $BENCH_MIRROR }
proxy: { remoteurl: $BENCH_ORIGIN }
END
exec docker-registry serve "$BENCH_FOLDER/config.yml"
`;

describeSuite('containerd', 'bench rollout', () => {
  let folder: DaemonFolder;
  beforeAll(async () => {
    folder = await DaemonFolder.create('bench');
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  let rollouts = 0;
  async function rollOut(...flags: string[]) {
    const json = folder.join(`out-${rollouts++}.json`);
    const args = [MAIN, 'rollout', ...flags, '--json', json];
    const ended = await attempt(process.execPath, args, { timeoutMs: TIMEOUT_MS });
    expect(ended.code, ended.stderr).not.toBe(2);
    const reading = JSON.parse(await readFile(json, 'utf8')) as RolloutReading;
    return { ...ended, reading, of: (name: string) => reading.results.find((result) => result.name === name)! };
  }

  test('three nodes and 64 MiB: the numbers fit each other and what was counted elsewhere', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const sizes = ['--nodes', '3', '--image', '64MiB', '--layers', '3', '--link', '400mbit'];
    const { code, stdout, stderr, reading, of } = await rollOut(...sizes, '--only', 'direct,shoal');
    expect(code, stderr).toBe(0);
    const { newBytes } = reading;
    expect(newBytes).toBeGreaterThanOrEqual(64 * MiB - 3);
    expect(newBytes).toBeLessThan(64.1 * MiB);
    for (const result of reading.results) {
      const { name, counters, nodes, boundSeconds, makespanSeconds } = result;
      expect(stdout, name).toContain(name);
      for (const { failure, identical } of nodes) expect([failure, identical], name).toEqual([undefined, true]);
      expect(makespanSeconds, name).toBeGreaterThan(0.9 * boundSeconds);
      expect(result.p50Seconds).toBeLessThanOrEqual(makespanSeconds);
      for (const node of nodes) expect(node.lastLayerSeconds).toBeLessThanOrEqual(node.unpackedSeconds!);
      // What leaves one interface comes in at another.
      const passed = (way: 'sent' | 'received') =>
        counters.after.reduce((sum, after, host) => sum + after[way] - counters.before[host]![way], 0);
      expect(passed('received') / passed('sent'), name).toBeGreaterThan(0.95);
      expect(passed('received') / passed('sent'), name).toBeLessThan(1.05);
      for (const [host, after] of counters.after.entries()) {
        if (host > 0) expect(after.received - counters.before[host]!.received).toBeGreaterThan(0.99 * newBytes);
      }
    }
    expect(of('direct').originBytesRatio).toBeGreaterThan(2.95);
    expect(of('direct').originBytesRatio).toBeLessThan(3.1);
    // Tag, config, and three layers at least, for each node.
    expect(of('direct').originRequests).toBeGreaterThanOrEqual(3 * 5);
    const { originBytesRatio, nodes } = of('shoal');
    expect(originBytesRatio).toBeGreaterThan(0.99);
    expect(originBytesRatio).toBeLessThan(1.3);
    const asAgentsCount = nodes.reduce((sum, node) => sum + node.fromOriginBytes!, 0) / newBytes;
    expect(asAgentsCount / originBytesRatio).toBeGreaterThan(0.95);
    expect(asAgentsCount / originBytesRatio).toBeLessThan(1.05);
  });

  // These two assert nothing of speed, and a rig's networks are its own.
  test.concurrent('another system goes through the same, and of several runs the middle one counts', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const command = await folder.write('rival.sh', RIVAL);
    const sizes = ['--nodes', '2', '--image', '8MiB', '--layers', '2', '--link', '400mbit', '--warm-up', 'none'];
    const rival = ['--against', `registry=sh ${command}`, '--only', 'registry,direct', '--repeat', '3'];
    const { code, stderr, reading, of } = await rollOut(...sizes, ...rival);
    expect(code, stderr).toBe(0);
    expect(reading.repeats).toBe(3);
    expect(reading.results.map(({ name }) => name)).toEqual(['registry', 'direct']);
    const { failedPulls, nodes, originBytesRatio, cpuSecondsPerGiBOf } = of('registry');
    expect([failedPulls, nodes.length]).toEqual([0, 2]);
    // Each node's own cache asks the registry once, at least.
    expect(originBytesRatio).toBeGreaterThan(1.95);
    expect(cpuSecondsPerGiBOf.rival).toBeGreaterThan(0);
  });

  test.concurrent('an agent that does not reach the others makes it no result, and nothing is left behind', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const sizes = ['--nodes', '2', '--image', '8MiB', '--layers', '1', '--link', '400mbit'];
    const { code, stdout, of } = await rollOut(...sizes, '--only', 'shoal', '--isolate', '2');
    expect(code).toBe(1);
    expect(of('shoal').broken).toMatch(/got nothing from the other nodes/);
    expect(stdout).toMatch(/broken: shoal: node-[12] got nothing/);
    const names = [...(await run('ip', ['netns', 'list'])).split('\n'), ...(await readdir(tmpdir()))];
    expect(names.filter((name) => RigName.of(name)?.isRunning === false)).toEqual([]);
  });

  test.each([
    ['a scenario that is not there', ['--scenario', 'nothing'], /no scenario nothing; there are .*rolling/],
    ['a way that is not there', ['--only', 'magic'], /no magic; there are direct, cache/],
    ['no nodes', ['--nodes', '0'], /--nodes takes a number from 1/],
  ])('%s is told in one line', async (_what, flags, words) => {
    const { code, stderr } = await attempt(process.execPath, [MAIN, 'rollout', ...flags]);
    expect(code).toBe(2);
    expect(stderr).toMatch(words);
  });
});
