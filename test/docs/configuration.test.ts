/** docs/configuration.md says what the settings are, and its examples can be used. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentConfigSchema } from '@shoal/agent';
import { agentSettings, describeSettings, resolveSettings, trackerSettings } from '@shoal/cli';
import { trackerConfigSchema } from '@shoal/tracker';
import { expect, onTestFinished, test } from 'vitest';
import { configurationPage, configurationPageFile } from '../support/configuration-page.ts';

test('docs/configuration.md is what the settings are; if not: npx -y pnpm@12.21.0 docs:configuration', async () => {
  expect(await readFile(configurationPageFile, 'utf8')).toBe(configurationPage());
});

test.each([
  ['agent', agentSettings, agentConfigSchema],
  ['tracker', trackerSettings, trackerConfigSchema],
] as const)('every setting of the %s stands in one group', (_name, settings, schema) => {
  const told = describeSettings(settings, schema).flatMap((group) => group.settings);
  expect(told.map(({ key }) => key)).toEqual(settings.map(({ key }) => key));
});

test('ranges are those of the schema, as a person writes them', () => {
  const told = describeSettings(agentSettings, agentConfigSchema).flatMap((group) => group.settings);
  const rangeOf = (key: string): string | undefined => told.find((one) => one.key === key)?.range;
  expect(rangeOf('cache-size')).toBe('at least 16MiB');
  expect(rangeOf('tag-fresh')).toBe('0 to 1h');
  expect(rangeOf('cache-low-water')).toBe('10% to 100%');
  expect(rangeOf('min-free-disk')).toBeUndefined();
  expect(rangeOf('zone')).toContain('1 to 64 letters');
});

test('the examples of YAML are read without a complaint', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-configuration-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const part = (fill: number): string => Buffer.alloc(32, fill).toString('base64url');
  // What the examples name.
  const files: Record<string, string> = {
    'join-token': `shoal1.${part(1)}.${part(2)}`,
    'ghcr-password': 'secret',
    'harbor-password': 'secret',
    'harbor-ca.pem': '-----BEGIN CERTIFICATE-----\n',
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  const examples = [...(await readFile(configurationPageFile, 'utf8')).matchAll(/```yaml\n(.*?)```/gs)];
  expect(examples).toHaveLength(2);
  for (const [, yaml = ''] of examples) {
    const config = join(folder, 'agent.yaml');
    await writeFile(config, yaml.replaceAll('/etc/shoal/', `${folder}/`));
    const sources = { program: 'shoal agent', flags: { config }, env: {} };
    expect(resolveSettings(agentSettings, agentConfigSchema, sources).warnings).toEqual([]);
  }
});
