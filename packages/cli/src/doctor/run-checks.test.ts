import { expect, test } from 'vitest';
import { type Examination, runChecks } from './checks.ts';
import type { Subject } from './subject.ts';

function examination(subject: Partial<Subject>, signal = new AbortController().signal): Examination {
  return {
    admin: '127.0.0.1:1',
    answer: { is: 'nobody' },
    settings: { warnings: [] },
    settingsFile: undefined,
    subject: subject as Subject,
    registries: [],
    searchPath: undefined,
    accepts: async () => false,
    clock: () => 0,
    signal,
  };
}
const never = (): Promise<never> => new Promise(() => {});

test('a check that hangs is told, and keeps none of the others', async () => {
  const findings = await runChecks(examination({ data: never }), ['disk', 'settings'], 50);
  expect(findings.map(({ name, state }) => `${name} ${state}`)).toEqual(['disk fail', 'settings ok']);
  expect(findings[0]).toMatchObject({
    detail: 'took longer than 0.05 s',
    todo: 'try it alone: shoal doctor --only disk',
  });
});

test('one that breaks is told by its reason', async () => {
  const data = async (): Promise<never> => {
    throw new Error('out of order');
  };
  expect(await runChecks(examination({ data }), ['disk'])).toEqual([
    expect.objectContaining({ name: 'disk', state: 'fail', detail: 'could not be checked: out of order' }),
  ]);
});

test('stopping ends the wait, with its reason', async () => {
  const stopped = new AbortController();
  const running = runChecks(examination({ data: never }, stopped.signal), ['disk']);
  stopped.abort(new Error('stopped'));
  await expect(running).rejects.toThrow('stopped');
});

test('of many registries the first are asked, and the others are told', async () => {
  const registries = Array.from({ length: 20 }, (_, index) => ({ registry: `r${index}.test` }));
  const registry = async (host: string) => ({ registry: host, outcome: 'open' });
  const findings = await runChecks(examination({ registries, registry }), ['origin']);
  expect(findings).toHaveLength(17);
  expect(findings.at(-1)).toMatchObject({ state: 'skip', detail: expect.stringContaining('4 more registries') });
});
