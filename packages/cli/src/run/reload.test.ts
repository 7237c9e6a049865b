import { expect, test } from 'vitest';
import { CommandFailure } from '../command-failure.ts';
import { createProcessLog } from '../log/logger.ts';
import { plainText } from '../settings/reader.ts';
import type { Resolved } from '../settings/resolve.ts';
import type { Setting } from '../settings/setting.ts';
import { Reload } from './reload.ts';

interface Config {
  log: { level: string };
  rate?: number;
  zone?: string;
}

const setting = (key: string, path: string[], more: Partial<Setting> = {}): Setting => ({
  ...{ key, path, placeholder: 'X', help: '', reader: plainText, shape: 'one' },
  ...more,
});
const settings = [
  setting('rate', ['rate'], { changeable: true }),
  setting('zone', ['zone'], { defaultText: 'default' }),
  setting('log-level', ['log', 'level'], { defaultText: 'info', changeable: true }),
];
const asked = (config: Config, texts: Record<string, string> = {}): Resolved<Config> => ({
  config,
  texts: new Map(Object.entries(texts)),
  warnings: [],
});

function world(apply: (config: Config) => Promise<void> = async () => undefined) {
  const lines: { level: number; msg: string }[] = [];
  const output = { write: (line: string) => lines.push(JSON.parse(line)) };
  const { logger, setLevel } = createProcessLog({ level: 'info', format: 'json' }, output);
  const applied: Config[] = [];
  let next: () => Resolved<Config> = () => asked({ log: { level: 'info' } });
  const reload = new Reload<Config>({ program: 'shoal test', settings }, asked({ log: { level: 'info' } }), {
    resolve: () => next(),
    apply: async (config) => {
      applied.push(config);
      await apply(config);
    },
    setLogLevel: setLevel,
    logger,
  });
  const run = async (resolve: () => Resolved<Config>): Promise<{ level: number; msg: string }[]> => {
    next = resolve;
    lines.length = 0;
    await reload.run();
    return lines.map(({ level, msg }) => ({ level, msg }));
  };
  return { run, applied, logger, lines };
}

test('what takes a restart is told each time until it is as it was, and applied never', async () => {
  const { run, applied } = world();
  const moved = () => asked({ log: { level: 'info' }, zone: 'b' }, { zone: 'b' });
  const told = { level: 40, msg: 'settings read again: nothing changed; only a restart changes zone' };
  expect(await run(moved)).toEqual([told]);
  expect(await run(moved)).toEqual([told]);
  expect(await run(() => asked({ log: { level: 'info' } }))).toEqual([
    { level: 30, msg: 'settings read again: nothing changed' },
  ]);
  expect(applied).toEqual([]);
});

test('what is wrong is told in one line, and the next good settings are compared with those in force', async () => {
  const { run, applied } = world();
  const wrong = (): never => {
    throw new CommandFailure(['shoal test: f:1:1: a is wrong', 'shoal test: f:2:1: b is wrong'], 2);
  };
  expect(await run(wrong)).toEqual([{ level: 50, msg: 'settings not changed: f:1:1: a is wrong; f:2:1: b is wrong' }]);
  const rated = asked({ log: { level: 'info' }, rate: 5 }, { rate: '5B' });
  expect(await run(() => rated)).toEqual([{ level: 30, msg: 'settings read again: rate not set → 5B' }]);
  expect(applied).toEqual([rated.config]);
});

test('what could not all be done is told so, and is in force', async () => {
  const { run } = world(async () => {
    throw new Error('the disk is full');
  });
  const rated = () => asked({ log: { level: 'info' }, rate: 5 }, { rate: '5B' });
  const [line] = await run(rated);
  expect(line).toMatchObject({ level: 40, msg: expect.stringContaining('not all of it could be done yet') });
  expect(await run(rated)).toEqual([{ level: 30, msg: 'settings read again: nothing changed' }]);
});

test('a log level reaches every logger that there is, and is told whether it gets louder or quieter', async () => {
  const { run, logger, lines } = world();
  const room = logger.child({ room: 'a' }).child({ peer: 'b' });
  const level = (to: string) => () => asked({ log: { level: to } }, { 'log-level': to });
  expect(await run(level('warn'))).toEqual([{ level: 30, msg: 'settings read again: log-level info → warn' }]);
  room.info('not said');
  expect(await run(level('debug'))).toEqual([{ level: 30, msg: 'settings read again: log-level warn → debug' }]);
  room.debug('said');
  expect(lines.at(-1)?.msg).toBe('said');
});
