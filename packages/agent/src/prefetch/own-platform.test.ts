import { expect, test } from 'vitest';
import { ownPlatform } from './own-platform.ts';

test('in the names that images use; containers are Linux, except on Windows', () => {
  const names = [ownPlatform('linux', 'x64'), ownPlatform('linux', 'arm64'), ownPlatform('darwin', 'arm64')];
  expect(names.map(({ os, architecture }) => `${os}/${architecture}`)).toEqual([
    'linux/amd64',
    'linux/arm64',
    'linux/arm64',
  ]);
  expect(ownPlatform('win32', 'ia32')).toEqual({ os: 'windows', architecture: '386', variant: '' });
});
