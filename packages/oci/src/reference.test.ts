import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isRepositoryName, isTag, parseImageReference } from './reference.ts';

const digest = `sha256:${'0a'.repeat(32)}`;

test.each([
  ['alpine', { registry: 'docker.io', repository: 'library/alpine', tag: 'latest' }],
  ['alpine:3.20', { registry: 'docker.io', repository: 'library/alpine', tag: '3.20' }],
  ['org/app', { registry: 'docker.io', repository: 'org/app', tag: 'latest' }],
  ['registry-1.docker.io/alpine', { registry: 'docker.io', repository: 'library/alpine', tag: 'latest' }],
  ['ghcr.io/o/i:tag', { registry: 'ghcr.io', repository: 'o/i', tag: 'tag' }],
  ['h:5000/a', { registry: 'h:5000', repository: 'a', tag: 'latest' }],
  [`h:5000/a@${digest}`, { registry: 'h:5000', repository: 'a', digest }],
  [`ghcr.io/o/i:v1@${digest}`, { registry: 'ghcr.io', repository: 'o/i', tag: 'v1', digest }],
  ['[::1]:5000/a/b', { registry: '[::1]:5000', repository: 'a/b', tag: 'latest' }],
  ['localhost/a', { registry: 'localhost', repository: 'a', tag: 'latest' }],
])('reads %s', (text, reference) => {
  expect(parseImageReference(text)).toEqual(reference);
});

test.each([
  '',
  'Alpine',
  'alpine:',
  'alpine@sha256:00',
  'ghcr.io/',
  '/a',
  'a//b',
  `a@${digest}@${digest}`,
  'a:b:c',
  '..',
  'h:x/a',
])('refuses %j', (text) => {
  expect(parseImageReference(text)).toBeUndefined();
});

test.each(['a', 'a/b/c', 'a.b_c__d-e---f/0'])('%s is a repository name', (name) => {
  expect(isRepositoryName(name)).toBe(true);
});

test.each(['', 'A', 'a/', '/a', 'a..b', 'a___b', '-a', 'a-', '_a', 'a/../b', 'a'.repeat(256)])(
  '%j is no repository name',
  (name) => {
    expect(isRepositoryName(name)).toBe(false);
  },
);

test('knows tags', () => {
  expect(['latest', '_x', 'V1.0-rc', 'a'.repeat(128)].every(isTag)).toBe(true);
  expect(['', '.x', '-x', 'a b', 'a:b', 'a'.repeat(129)].some(isTag)).toBe(false);
});

test('any references put together from valid parts is taken apart into the same parts', () => {
  const component = fc.stringMatching(/^[a-z0-9]{1,8}$/);
  const parts = fc.record({
    registry: fc.constantFrom('ghcr.io', 'localhost:5000', '[::1]:7', 'quay.io'),
    repository: fc.array(component, { minLength: 1, maxLength: 4 }).map((names) => names.join('/')),
    tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/),
  });
  fc.assert(
    fc.property(parts, (reference) => {
      const { registry, repository, tag } = reference;
      expect(parseImageReference(`${registry}/${repository}:${tag}`)).toEqual(reference);
    }),
  );
});
