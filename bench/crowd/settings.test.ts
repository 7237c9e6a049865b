import { describe, expect, test } from 'vitest';
import { parseBitRate, WrongUsage } from '../rig/flags.ts';
import { crowdSettings } from './settings.ts';

describe('crowdSettings', () => {
  test('the origin has a link like the nodes, unless told', () => {
    const settings = crowdSettings(['--link', '20mbit']);
    expect(settings.linkBitsPerSecond).toBe(20e6);
    expect(settings.originLinkBitsPerSecond).toBe(20e6);
    expect(crowdSettings(['--origin-link', '1.5gbit']).originLinkBitsPerSecond).toBe(1.5e9);
  });

  test.each([
    ['--nodes', '0'],
    ['--nodes', '2.5'],
    ['--nodes', '2', '--zones', '3'],
    ['--size', 'large'],
    ['--link', '40'],
    ['--link', '0mbit'],
    ['--fast'],
    ['8'],
  ])('refuses %s %s', (...flags) => {
    expect(() => crowdSettings(flags)).toThrow(WrongUsage);
  });
});

test('rates are in bits, of powers of 1000', () => {
  expect(parseBitRate('500kbit')).toBe(500_000);
  expect(parseBitRate('2.5 Gbit')).toBe(2.5e9);
  expect(parseBitRate('40MB')).toBeUndefined();
});
