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
    log: { level: 'info', format: 'auto' },
  });
});

test('a shared store is said to be missing, not misspelt', () => {
  expect(complaint({ store: 'redis://10.0.0.9:6379' })).toMatch(/^is not available yet/);
  expect(complaint({ store: 'levle' })).toMatch(/^is not a kind of store; write level/);
});
