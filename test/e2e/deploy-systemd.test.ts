import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_MIRROR } from '@shoal/agent';
import { describe, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt } from '../support/daemon/process.ts';
import { requireProgram } from '../support/daemon/programs.ts';
import { settingsOf } from '../support/daemon/systemd.ts';
import { describeSuite } from './suite.ts';

const folder = join(import.meta.dirname, '../../deploy/systemd');
/** Of 10; deploy/README.md names it. */
const mostExposure = 1.2;

// That programs live with what the units leave them is seen in deploy-node.test.ts, under a real systemd.
describeSuite('systemd', 'the systemd units', () => {
  test('the socket and the timer are understood with the agent they belong to, and the socket is where the mirror is', async () => {
    await using own = await DaemonFolder.create('units');
    const names = ['shoal-agent.socket', 'shoal-agent-retry.timer', 'shoal-agent.service'];
    const [socket = '', timer = '', service = ''] = await Promise.all(
      names.map((name) => readFile(join(folder, name), 'utf8')),
    );
    const paths = [
      await own.write('shoal-agent.socket', socket),
      await own.write('shoal-agent-retry.timer', timer),
      await own.write('shoal-agent.service', service.replace('/opt/shoal/bin/node', process.execPath)),
    ];
    const verify = (...given: string[]) =>
      attempt(requireProgram('systemd-analyze'), ['verify', '--man=no', ...given], {
        env: { SYSTEMD_UNIT_PATH: `${own.path}:` },
      });
    expect(await verify(...paths)).toEqual({ code: 0, stdout: '', stderr: '' });
    const wrong = await own.write('wrong.socket', `${socket}\nFileDescriptorNames=mirror\n`);
    expect((await verify(wrong)).stderr).not.toBe('');
    const { host, port } = DEFAULT_MIRROR;
    expect(settingsOf(socket, 'ListenStream')).toEqual([`${host}:${port}`]);
    expect(settingsOf(socket, 'FileDescriptorName')).toEqual(['mirror']);
    expect([settingsOf(service, 'Sockets'), settingsOf(service, 'OnFailure'), settingsOf(timer, 'Unit')]).toEqual([
      ['shoal-agent.socket'],
      ['shoal-agent-retry.timer'],
      ['shoal-agent.service'],
    ]);
  });

  describe.each(['shoal-agent.service', 'shoal-tracker.service'])('%s', (name) => {
    test('is understood by systemd, to the last line', async () => {
      await using own = await DaemonFolder.create('units');
      const unit = await readFile(join(folder, name), 'utf8');
      // It also looks whether the program is there.
      const path = await own.write(name, unit.replace('/opt/shoal/bin/node', process.execPath));
      const { code, stdout, stderr } = await attempt(requireProgram('systemd-analyze'), ['verify', '--man=no', path]);
      expect([code, stdout, stderr]).toEqual([0, '', '']);
      const wrong = await own.write(`wrong-${name}`, `${unit.replace('/opt/shoal/bin/node', process.execPath)}\nX=1\n`);
      expect((await attempt(requireProgram('systemd-analyze'), ['verify', '--man=no', wrong])).stderr).not.toBe('');
    });

    test('is exposed no more than the documentation says', async () => {
      const args = ['security', '--offline=true', '--no-pager', join(folder, name)];
      const { stdout } = await attempt(requireProgram('systemd-analyze'), args);
      const score = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      expect(score).toBeLessThanOrEqual(mostExposure);
      expect(await readFile(join(folder, '../README.md'), 'utf8')).toContain(`${mostExposure} of 10`);
    });
  });
});
