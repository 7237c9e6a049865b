/** The alert rules and the dashboard's expressions, judged by Prometheus' own tool; and what processes tell, by its linter. */
import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCluster } from '@shoal/cli';
import { Agent, request } from 'undici';
import { expect, test } from 'vitest';
import { attempt } from '../support/daemon/process.ts';
import { requireProgram } from '../support/daemon/programs.ts';
import { alertsFile, repositoryFolder } from '../support/metrics-page.ts';
import { describeSuite } from './suite.ts';

const rulesTest = join(repositoryFolder, 'deploy/prometheus/alerts.test.yaml');

function promtool(...args: string[]): ReturnType<typeof attempt> {
  return attempt(requireProgram('promtool'), args, { timeoutMs: 30_000 });
}

describeSuite('prometheus', 'Prometheus', () => {
  test('takes the alert rules', async () => {
    const { code, stdout, stderr } = await promtool('check', 'rules', alertsFile);
    expect(code, stderr + stdout).toBe(0);
    expect(stdout).toContain('SUCCESS: 11 rules found');
  });

  test('tells of what they are for, and of nothing else', async () => {
    const { code, stdout, stderr } = await promtool('test', 'rules', rulesTest);
    expect(code, stderr + stdout).toBe(0);
  });

  test('reads what an agent and a tracker tell, and finds nothing to say about what is theirs', async () => {
    await using resources = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'shoal-promtool-'));
    resources.defer(() => rm(folder, { recursive: true, force: true }));
    const cluster = await startCluster({ nodes: 1, folder, registries: {} });
    resources.defer(() => cluster.stop());
    const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
    resources.defer(() => dispatcher.close());
    for (const url of [cluster.agents[0]!.adminUrl, cluster.tracker!.url]) {
      const page = await (await request(`${url}/metrics`, { dispatcher })).body.text();
      const { status, stderr } = spawnSync(requireProgram('promtool'), ['check', 'metrics'], {
        input: page,
        encoding: 'utf8',
      });
      // 0: nothing at all; 3: words about names, of which Node's own deserve some.
      expect([0, 3], stderr).toContain(status);
      expect(stderr.split('\n').filter((line) => line !== '' && !line.startsWith('nodejs_'))).toEqual([]);
    }
  });

  test('takes every expression of the dashboard, with what Grafana puts in', async () => {
    const text = await readFile(join(repositoryFolder, 'deploy/grafana/shoal.json'), 'utf8');
    const { panels } = JSON.parse(text) as { panels: { targets?: { expr: string }[] }[] };
    const expressions = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
    const rules = expressions.map((expr, index) => ({
      record: `panel:${index}`,
      expr: expr.replaceAll(/\$__rate_interval|\$__range/g, '5m').replaceAll('$instance', '.*'),
    }));
    const folder = await mkdtemp(join(tmpdir(), 'shoal-promtool-'));
    try {
      const file = join(folder, 'rules.yaml');
      await writeFile(file, JSON.stringify({ groups: [{ name: 'dashboard', rules }] }));
      const { code, stdout, stderr } = await promtool('check', 'rules', file);
      expect(code, stderr + stdout).toBe(0);
      expect(stdout).toContain(`${expressions.length} rules found`);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
