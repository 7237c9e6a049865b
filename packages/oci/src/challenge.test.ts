import fc from 'fast-check';
import { expect, test } from 'vitest';
import { parseChallenges } from './challenge.ts';

const read = (header: string | string[]) =>
  parseChallenges(header).map(({ scheme, token68, parameters }) => ({
    scheme,
    ...(token68 === undefined ? {} : { token68 }),
    ...Object.fromEntries(parameters),
  }));

test.each([
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
    [
      {
        scheme: 'bearer',
        realm: 'https://auth.docker.io/token',
        service: 'registry.docker.io',
        scope: 'repository:a/b:pull,push',
      },
    ],
  ],
  ['Basic realm="a \\"quoted\\" \\\\ one"', [{ scheme: 'basic', realm: 'a "quoted" \\ one' }]],
  [
    'Negotiate abc==, Basic realm=x , Bearer realm = "y"',
    [
      { scheme: 'negotiate', token68: 'abc==' },
      { scheme: 'basic', realm: 'x' },
      { scheme: 'bearer', realm: 'y' },
    ],
  ],
  ['Negotiate, Basic REALM="x"', [{ scheme: 'negotiate' }, { scheme: 'basic', realm: 'x' }]],
  [
    'Bearer realm="a",service="",scope=,error="e"',
    [{ scheme: 'bearer', realm: 'a', service: '', scope: '', error: 'e' }],
  ],
  ['Bearer realm="a",realm="b"', [{ scheme: 'bearer', realm: 'a' }]],
  ['realm="a"', []],
  [',, ,', []],
  ['', []],
])('reads %s', (header, challenges) => {
  expect(read(header)).toEqual(challenges);
});

test('reads several header values', () => {
  expect(read(['Bearer realm="a"', 'Basic realm="b"']).map(({ scheme }) => scheme)).toEqual(['bearer', 'basic']);
});

test('an unterminated quote ends with its header value', () => {
  expect(read(['Bearer realm="a', 'Basic realm="b"'])).toContainEqual({ scheme: 'basic', realm: 'b' });
});

test('ignores an over-long value', () => {
  expect(read(`Bearer realm="${'a'.repeat(17_000)}"`)).toEqual([]);
});

test('returns at most 16 challenges from any text', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'aB =",\\\t/'), maxLength: 400 }), (text) => {
      expect(parseChallenges([text, text]).length).toBeLessThanOrEqual(16);
    }),
  );
});

test('reads back what was written', () => {
  const name = fc.stringMatching(/^[a-z]{1,8}$/);
  const challenge = fc.record({
    scheme: name,
    parameters: fc.dictionary(name, fc.string(), { minKeys: 1, maxKeys: 4 }),
  });
  const quote = (value: string) => `"${value.replaceAll(/["\\]/g, '\\$&')}"`;
  fc.assert(
    fc.property(fc.array(challenge, { maxLength: 5 }), (challenges) => {
      const header = challenges
        .map(({ scheme, parameters }) => {
          const written = Object.entries(parameters).map(([key, value]) => `${key}=${quote(value)}`);
          return `${scheme} ${written.join(', ')}`;
        })
        .join(', ');
      const parsed = parseChallenges(header).map((c) => ({ scheme: c.scheme, parameters: [...c.parameters] }));
      expect(parsed).toEqual(challenges.map((c) => ({ scheme: c.scheme, parameters: Object.entries(c.parameters) })));
    }),
  );
});
