import { expect, test } from 'vitest';
import { AllowList, isRegistryPattern } from './allow-list.ts';

test('21: a list allows what it names, in every spelling, and nothing else', () => {
  const list = new AllowList(['Docker.io', 'registry.example.com:5000', '*.amazonaws.com']);
  for (const host of ['docker.io', 'registry.example.com:5000', '123.dkr.ecr.eu-west-1.amazonaws.com']) {
    expect(list.allows(host), host).toBe(true);
  }
  for (const host of [
    'ghcr.io',
    'registry.example.com',
    'amazonaws.com',
    'evilamazonaws.com',
    'amazonaws.com.evil.io',
  ]) {
    expect(list.allows(host), host).toBe(false);
  }
  expect(new AllowList([]).allows('anything.example')).toBe(true);
});

test('a pattern is a host, or everything below one', () => {
  for (const text of ['ghcr.io', '*.example.com', 'r.example:5000']) expect(isRegistryPattern(text)).toBe(true);
  for (const text of ['', '*', '*.', 'a*.io', '*.*.io', 'https://ghcr.io', 'ghcr.io/org']) {
    expect(isRegistryPattern(text), text).toBe(false);
  }
  expect(() => new AllowList(['*'])).toThrow(TypeError);
});
