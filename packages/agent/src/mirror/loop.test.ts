import { expect, test } from 'vitest';
import { hasPassedAgent } from './loop.ts';

test('37: recognises an agent among the hops', () => {
  expect(['1.1 shoal', 'HTTP/1.1 SHOAL', '1.0 fred, 1.1 shoal (0.1)'].map(hasPassedAgent)).toEqual([true, true, true]);
  expect([undefined, '', '1.1 fred', '1.1 shoal.example', 'shoal'].map(hasPassedAgent)).not.toContain(true);
});
