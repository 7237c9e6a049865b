/** BuildKit's buildkitd.toml: mirrors by registry, and that this mirror speaks plain HTTP. */
import { normaliseRegistryHost } from '@shoal/oci';
import { changeOf, type Planner, SetupProblem } from './plan.ts';
import { parseToml, setInToml, tomlAt } from './toml-edit.ts';

const CONFIG_FILE = '/etc/buildkit/buildkitd.toml';
const USUAL = ['docker.io', 'ghcr.io', 'quay.io', 'registry.k8s.io', 'gcr.io', 'public.ecr.aws', 'mcr.microsoft.com'];

export const planBuildkit: Planner = async ({ configFile = CONFIG_FILE, mirror, registries }, files) => {
  const before = await files.read(configFile);
  let text = before ?? '';
  for (const host of new Set([...USUAL, ...registries.map(hostOf)])) {
    const known = tomlAt(parseToml(configFile, text), ['registry', host, 'mirrors']) ?? [];
    if (!Array.isArray(known))
      throw new SetupProblem(`the mirrors of ${host} in ${configFile} are no list; mend it first`);
    const others = known.map(String).filter((other) => other !== mirror.host);
    text = setInToml(configFile, text, ['registry', host], 'mirrors', [mirror.host, ...others]);
  }
  text = setInToml(configFile, text, ['registry', mirror.host], 'http', true);
  const changes = changeOf(configFile, before, text);
  return { changes, reload: changes.length === 0 ? undefined : 'systemctl restart buildkit', notes: [] };
};

function hostOf(text: string): string {
  const host = normaliseRegistryHost(text);
  if (host === undefined) throw new SetupProblem(`--registry ${JSON.stringify(text)} is not a registry host`);
  return host;
}
