// docs/configuration.md, out of the tables of settings and of the schemas that judge them.
import { join } from 'node:path';
import { agentConfigSchema, MAX_LIST_LENGTH, MAX_REGISTRIES } from '@shoal/agent';
import {
  agentSettings,
  describeRegistryKeys,
  describeSettings,
  type RegistryKeyDescription,
  type SettingDescription,
  type SettingGroup,
  trackerSettings,
} from '@shoal/cli';
import { trackerConfigSchema } from '@shoal/tracker';

export const configurationPageFile: string = join(import.meta.dirname, '../../docs/configuration.md');

const introduction = `# Settings

Every setting of \`shoal agent\` and \`shoal tracker\` has one name in three spellings: \`cache-size\` is the flag \`--cache-size SIZE\`, the variable \`SHOAL_CACHE_SIZE\`
and the key \`cache-size\` of the YAML file that \`--config FILE\` or \`SHOAL_CONFIG\` names. Flags win over variables, those over the file, that over the default. A variable or a key
without a value says nothing.

\`\`\`yaml
# shoal agent --config /etc/shoal/agent.yaml
tracker: https://10.0.0.5:7302
join-token: "@/etc/shoal/join-token"
cache-size: 200GiB
upload-rate: 50MiB
zone: eu-west-1a
allow-registry: [docker.io, ghcr.io, "*.dkr.ecr.eu-west-1.amazonaws.com"]
\`\`\`

- **Lists** (… behind the value): the flag is repeated, the variable holds them separated by commas, YAML takes a list or a single value;
  at most ${MAX_LIST_LENGTH} entries. Lists do not add up: the strongest place that has one gives all of it.
- **\`@FILE\`** stands for what is in the file, without the white space around it; so a join token stays out of the list of processes. In YAML it is put in quotes.
- **Mistakes**: an unknown flag or key, and every value that cannot be, is told in a line of its own, with its place (\`agent.yaml:3:13\`), and the program ends with exit code 2. An
  unknown variable \`SHOAL_…\` that looks like a misspelt one is warned about.
- **SIGHUP** (\`systemctl reload shoal-agent\`) has the file read again. What is marked ↻ changes at once; of the rest the log says that it takes a restart. A file with a mistake changes nothing.

This page is made of the program itself: \`npx -y pnpm@12.21.0 docs:configuration\`.
`;

const registryIntroduction = `### A registry of its own

\`registry\` says how a registry is reached, by its host as images name it. One on a loopback, link-local or private address is dialled only when it is named here. As flag or variable it is
\`HOST=URL\`; in YAML a URL, or a map of these keys. Each host is taken whole from the strongest place that names it, so that the login of one place never goes to the address of another. At most
${MAX_REGISTRIES.toLocaleString('en')} hosts may be named, and a change takes a restart.

\`\`\`yaml
registry:
  registry.local:5000: http://10.0.0.9:5000
  ghcr.io: { username: me, password-file: /etc/shoal/ghcr-password, tag-fresh: 5m }
  harbor.example.com:
    url: https://10.0.0.10
    ca-file: /etc/shoal/harbor-ca.pem
    username: node
    password-file: /etc/shoal/harbor-password
    open-to-clients: true
\`\`\`
`;

export function configurationPage(): string {
  const agent = describeSettings(agentSettings, agentConfigSchema);
  const tracker = describeSettings(trackerSettings, trackerConfigSchema);
  return [
    introduction,
    '## How values are written\n',
    forms([...agent, ...tracker].flatMap(({ settings }) => settings)),
    '## shoal agent\n',
    ...agent.map(groupTable),
    registryIntroduction,
    registryTable(describeRegistryKeys(agentSettings, agentConfigSchema)),
    '## shoal tracker\n',
    ...tracker.map(groupTable),
  ].join('\n');
}

/** What the placeholders of the tables below mean; those of plain text speak for themselves. */
function forms(settings: readonly SettingDescription[]): string {
  const byPlaceholder = new Map<string, string>();
  for (const { placeholder, form } of settings) if (form !== undefined) byPlaceholder.set(placeholder, form);
  const rows = [...byPlaceholder].map(([placeholder, form]) => `| ${value(placeholder)} | ${cell(form)} |`);
  return ['| value | how it is written |', '| --- | --- |', ...rows, ''].join('\n');
}

function groupTable({ title, settings }: SettingGroup): string {
  const rows = settings.map(({ flag, variable, placeholder, shape, changeable, help, ...setting }) => {
    const written = `${value(placeholder)}${shape === 'one' ? '' : ' …'}`;
    const { range = '', defaultText } = setting;
    const standard = defaultText === undefined ? '' : `\`${defaultText}\``;
    return `| \`${flag}\`${changeable ? ' ↻' : ''} | \`${variable}\` | ${written} | ${standard} | ${cell(range)} | ${cell(help)} |`;
  });
  const head = [
    '| flag; YAML key without `--` | variable | value | default | what it may be | what it does |',
    '| --- | --- | --- | --- | --- | --- |',
  ];
  return [`### ${title}\n`, ...head, ...rows, ''].join('\n');
}

function registryTable(keys: readonly RegistryKeyDescription[]): string {
  const rows = keys.map(
    ({ key, placeholder, range = '', help }) =>
      `| \`${key}\` | ${value(placeholder)} | ${cell(range)} | ${cell(help)} |`,
  );
  return ['| key | value | what it may be | what it does |', '| --- | --- | --- | --- |', ...rows, ''].join('\n');
}

/** A placeholder: `NAME|@FILE` would end the table's cell. */
function value(placeholder: string): string {
  return placeholder
    .split('|')
    .map((one) => `\`${one}\``)
    .join(' or ');
}

function cell(text: string): string {
  return text.trim().replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('*', '\\*');
}
