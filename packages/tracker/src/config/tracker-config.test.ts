import { expect, test } from 'vitest';
import { trackerConfigSchema } from './tracker-config.ts';

function complaint(input: object): string | undefined {
  return trackerConfigSchema.safeParse(input).error?.issues[0]?.message;
}

test('says nothing means the documented defaults', () => {
  expect(trackerConfigSchema.parse({})).toEqual({
    listen: { host: '0.0.0.0', port: 7302 },
    dataDir: '/var/lib/shoal-tracker',
    store: 'level',
    dashboardNames: [],
    log: { level: 'info', format: 'auto' },
  });
});

test('a shared store is an address with the number of a database at most', () => {
  for (const store of ['level', 'redis://10.0.0.9:6379', 'rediss://user:p%40ss@store.test/3']) {
    expect(trackerConfigSchema.parse({ store }).store).toBe(store);
  }
  expect(complaint({ store: 'levle' })).toMatch(/^is not a kind of store; write level/);
  expect(complaint({ store: 'redis://' })).toMatch(/^is not an address/);
  expect(complaint({ store: 'redis://store.test/shoal' })).toMatch(/number of a database/);
});

test('a tracker is advertised by where it is, without a path', () => {
  expect(trackerConfigSchema.parse({ advertise: 'https://10.0.0.5:7302' }).advertise).toBe('https://10.0.0.5:7302');
  for (const advertise of ['10.0.0.5:7302', 'http://10.0.0.5:7302', 'https://10.0.0.5:7302/v1']) {
    expect(complaint({ advertise })).toMatch(/^is not an address of a tracker/);
  }
});
