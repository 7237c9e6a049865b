import { expect, test } from 'vitest';
import { createLogger, type LogOptions } from './logger.ts';

function logged(format: LogOptions['format'], isTTY: boolean, fields: object, message = 'hello'): string {
  const chunks: string[] = [];
  const output = { isTTY, write: (chunk: string) => chunks.push(chunk) };
  createLogger({ level: 'info', format }, output).info(fields, message);
  return chunks.join('');
}

test('is JSON where no person reads, and readable at a terminal', () => {
  expect(JSON.parse(logged('auto', false, { pullId: 'p1' }))).toMatchObject({ msg: 'hello', pullId: 'p1', level: 30 });
  expect(logged('auto', true, { pullId: 'p1' })).toMatch(/^\S+ \S*info \S* hello .*pullId=p1/);
  expect(() => JSON.parse(logged('pretty', false, {}))).toThrow();
  expect(() => JSON.parse(logged('json', true, {}))).not.toThrow();
});

test.each(['json', 'pretty'] as const)('%s never holds a secret', (format) => {
  const secrets = {
    token: 'hunter2',
    registry: { username: 'u', password: 'hunter2' },
    request: { headers: { authorization: 'Basic hunter2', 'set-cookie': 'hunter2' } },
    headers: { authorization: 'Bearer hunter2' },
    config: { joinToken: 'hunter2' },
  };
  const text = logged(format, false, secrets);
  expect(text).not.toContain('hunter2');
  expect(text).toContain('[redacted]');
});

test.each(['json', 'pretty'] as const)('%s: no text holds a join token or a login', (format) => {
  const error = new Error('GET https://me:hunter2@ghcr.io/v2/ failed for shoal1.hunter2.hunter2');
  const text = logged(
    format,
    false,
    { err: error, url: 'http://me:hunter2@127.0.0.1:1/' },
    'token shoal1.hunter2.hunter2',
  );
  expect(text).not.toContain('hunter2');
  expect(text).toContain('https://…@ghcr.io/v2/ failed for shoal1.…');
  if (format === 'json') expect(JSON.parse(text).msg).toBe('token shoal1.…');
});

test('below the level nothing is written', () => {
  const chunks: string[] = [];
  createLogger({ level: 'warn', format: 'json' }, { write: (chunk) => chunks.push(chunk) }).info('quiet');
  expect(chunks).toEqual([]);
});
