// docs/metrics.md, out of what agent and tracker register and of the alert rules.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describeAgentMetrics, type MetricDescription } from '@shoal/agent';
import { describeTrackerMetrics } from '@shoal/tracker';
import { parse } from 'yaml';

export const repositoryFolder: string = join(import.meta.dirname, '../..');
export const metricsPageFile: string = join(repositoryFolder, 'docs/metrics.md');
export const alertsFile: string = join(repositoryFolder, 'deploy/prometheus/alerts.yaml');

export interface AlertRule {
  alert: string;
  expr: string;
  for?: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<{ summary: string; action: string }>;
}

const introduction = `# Metrics

An agent tells its metrics at \`http://127.0.0.1:7303/metrics\` (\`admin\`), a tracker at \`https://TRACKER:7302/metrics\`. The tracker's certificate is
its own, pinned by agents alone, so Prometheus is told not to check it. To let a Prometheus elsewhere read an agent, give it \`admin: 0.0.0.0:7303\`:
what it tells there holds no secret, but whoever reaches it may also have it forget a tag.

\`\`\`yaml
# prometheus.yml
rule_files: [/etc/prometheus/shoal-alerts.yaml]   # deploy/prometheus/alerts.yaml
scrape_configs:
  - job_name: shoal-agent
    static_configs: [{ targets: ["node-1:7303", "node-2:7303"] }]
  - job_name: shoal-tracker
    scheme: https
    tls_config: { insecure_skip_verify: true }
    static_configs: [{ targets: ["tracker:7302"] }]
\`\`\`

\`deploy/grafana/shoal.json\` is a dashboard to import. All counters count from the start of the process. What the origin sent for each byte that
containers got, over a cluster (1 ÷ nodes is the least):

\`\`\`
sum(rate(shoal_bytes_total{source="origin",direction="in"}[30m])) / sum(rate(shoal_bytes_total{source="client",direction="out"}[30m]))
\`\`\`

This page is made of the program itself: \`npx -y pnpm@12.21.0 docs:metrics\`.
`;

const process = `Both also tell what Node's processes usually tell, \`process_…\` and \`nodejs_…\`, such as \`process_resident_memory_bytes\` and
\`process_cpu_seconds_total\`.
`;

export async function alertRules(): Promise<AlertRule[]> {
  const { groups } = parse(await readFile(alertsFile, 'utf8')) as { groups: { rules: AlertRule[] }[] };
  return groups.flatMap(({ rules }) => rules);
}

export async function metricsPage(): Promise<string> {
  const [agent, tracker] = [describeAgentMetrics(), describeTrackerMetrics()];
  const isOwn = ({ name }: MetricDescription): boolean => name.startsWith('shoal_');
  return [
    introduction,
    '## Agent\n',
    table(agent.filter(isOwn)),
    '## Tracker\n',
    table(tracker.filter(isOwn)),
    process,
    '## Alerts\n',
    alerts(await alertRules()),
  ].join('\n');
}

function table(metrics: readonly MetricDescription[]): string {
  const rows = [...metrics]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, type, labels, help }) => `| \`${name}\` | ${type} | ${labels.join(', ')} | ${cell(help)} |`);
  return ['| metric | type | labels | what it tells |', '| --- | --- | --- | --- |', ...rows, ''].join('\n');
}

function alerts(rules: readonly AlertRule[]): string {
  const rows = rules.map(({ alert, labels, annotations: { summary, action }, ...rule }) => {
    const said = summary.replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, '($1)').replaceAll(/\{\{ \$value[^}]*\}\}/g, '…');
    return `| ${alert} | ${labels.severity} | ${rule.for ?? 'at once'} | ${cell(said)} | ${cell(action)} |`;
  });
  const head = [
    '| alert | severity | when it holds for | what is so | what to do |',
    '| --- | --- | --- | --- | --- |',
  ];
  return [...head, ...rows, ''].join('\n');
}

function cell(text: string): string {
  return text.trim().replaceAll('|', '\\|').replaceAll('\n', ' ');
}
