import { setTimeout as sleep } from 'node:timers/promises';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { observeProcess } from './observe-process.ts';

/** @returns the delay at this moment's scrape, in seconds */
function observed(): () => Promise<number> {
  const registry = new Registry();
  observeProcess(registry, 'test');
  return async () => Number(/^test_event_loop_delay_seconds (\S+)$/m.exec(await registry.metrics())?.[1]);
}

function block(ms: number): void {
  for (const endMs = performance.now() + ms; performance.now() < endMs; );
}

test('an idle process does not wait for itself, from the first scrape on', async () => {
  const delay = observed();
  await sleep(600);
  expect(await delay()).toBeLessThan(0.3);
  await sleep(600);
  expect(await delay()).toBeLessThan(0.3);
});

test.each([60, 150, 400])('a turn of %i ms is told as that, once', async (ms) => {
  const delay = observed();
  await sleep(20);
  await delay();
  // A few times at different moments: none may fall between two looks.
  for (const pauseMs of [30, 110, 170]) {
    await sleep(pauseMs);
    block(ms);
    await sleep(20);
    const told = await delay();
    expect(told).toBeGreaterThanOrEqual(0.95 * (ms / 1_000));
    expect(told).toBeLessThan(ms / 1_000 + 0.3);
  }
  await sleep(50);
  expect(await delay()).toBeLessThan(Math.max(0.05, 0.9 * (ms / 1_000)));
});

test('the process’s memory and processor time are told, and prom-client’s lag is not', async () => {
  const registry = new Registry();
  observeProcess(registry, 'test');
  const page = await registry.metrics();
  expect(page).toContain('process_resident_memory_bytes');
  expect(page).toContain('process_cpu_seconds_total');
  expect(page).not.toContain('nodejs_eventloop_lag');
});
