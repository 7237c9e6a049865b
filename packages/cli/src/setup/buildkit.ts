/** BuildKit's buildkitd.toml: mirrors by registry, and that this mirror speaks plain HTTP. */
import { changeOf, type Planner, SetupProblem } from './plan.ts';
import { withUsual } from './registries.ts';
import { parseToml, setInToml, tomlAt } from './toml-edit.ts';

const CONFIG_FILE = '/etc/buildkit/buildkitd.toml';

export const planBuildkit: Planner = async ({ configFile = CONFIG_FILE, mirror, registries }, files) => {
  const before = await files.read(configFile);
  let text = before ?? '';
  for (const host of withUsual(registries)) {
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
