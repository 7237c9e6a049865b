import { expect, onTestFinished, test } from 'vitest';
import { Daemon, type DaemonError } from './daemon.ts';

const READY = `console.log('{"event":"ready","pid":' + process.pid + '}'); setInterval(() => {}, 1000);`;

function daemon(script: string, readyTimeoutMs = 20_000): { daemon: Daemon<number>; crashes: DaemonError[] } {
  const crashes: DaemonError[] = [];
  const started = new Daemon<number>({
    name: 'child',
    arguments: (last) => ['-e', script, String(last ?? 'first')],
    readReady: (line) => Number(line.pid),
    readyTimeoutMs,
    onCrash: (error) => crashes.push(error),
  });
  onTestFinished(() => started.kill());
  return { daemon: started, crashes };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test('it is started once it says so, and its other output is kept', async () => {
  const { daemon: child } = daemon(`console.log('warming up'); console.error('a warning'); ${READY}`);
  await child.start();
  expect(child.ready).toBe(child.pid);
  await expect.poll(() => child.logs()).toContain('a warning');
  expect(child.logs()).toContain('warming up');
});

test('one that ends early fails with what it said last', async () => {
  const { daemon: child } = daemon(`console.error('no such folder'); process.exit(3);`);
  await expect(child.start()).rejects.toMatchObject({
    code: 'ended-early',
    message: expect.stringMatching(/exit code 3[\s\S]*no such folder/),
  });
});

test('one that never gets ready is ended', async () => {
  const { daemon: child } = daemon('console.error(process.pid); setInterval(() => {}, 1000);', 1_500);
  await expect(child.start()).rejects.toMatchObject({ code: 'not-ready' });
  const pid = Number(child.logs().trim());
  expect(pid).toBeGreaterThan(0);
  expect(isRunning(pid)).toBe(false);
});

test('an abort while it starts ends it and rejects with the reason', async () => {
  const { daemon: child } = daemon('setInterval(() => {}, 1000);');
  await expect(child.start(AbortSignal.timeout(200))).rejects.toThrow('timeout');
  expect(child.pid).toBeUndefined();
});

test('an end nobody asked for is a crash, one that was asked for is not', async () => {
  const { daemon: child, crashes } = daemon(READY);
  await child.start();
  await child.stop();
  expect(crashes).toEqual([]);
  await child.start();
  process.kill(child.ready, 'SIGKILL');
  await expect.poll(() => crashes.map(({ code }) => code)).toEqual(['crashed']);
});

test('a restart runs it with what the run before announced', async () => {
  const { daemon: child } = daemon(`console.error('argument ' + process.argv[1]); ${READY}`);
  await child.start();
  const first = child.ready;
  await child.restart();
  expect(child.ready).not.toBe(first);
  expect(child.logs()).toContain(`argument ${first}`);
  expect(isRunning(first)).toBe(false);
});
