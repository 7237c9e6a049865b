import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DaemonFolder } from '../support/daemon/daemon-folder.ts';
import { attempt } from '../support/daemon/process.ts';
import { requireProgram } from '../support/daemon/programs.ts';
import { describeSuite } from './suite.ts';

const folder = join(import.meta.dirname, '../../deploy/systemd');
/** Of 10; deploy/README.md names it. */
const mostExposure = 1.2;

// That programs live with the units' system call filter is seen in deploy-image.test.ts, in a container.
describeSuite('systemd', 'the systemd units', () => {
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
