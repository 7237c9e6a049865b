import type { FreshMachine } from './fresh-machine.ts';

/** Debian's docker-registry on a machine that reaches no other, until that goes. @param at `HOST:PORT` of its own */
export async function startRegistryOn(machine: FreshMachine, at: string): Promise<void> {
  const storage = '{ filesystem: { rootdirectory: /srv/registry } }';
  const config = `version: 0.1\nlog: { level: error }\nstorage: ${storage}\nhttp: { addr: "${at}" }\n`;
  await machine.write('/srv/registry.yml', config);
  const registry = machine.background('docker-registry', 'docker-registry serve /srv/registry.yml');
  await registry.ready(async () => (await machine.attempt(`curl -sf http://${at}/v2/`)).code === 0);
}

/** @param layout of OCI, here @param names with tags, as the registry has them */
export async function publishOn(
  machine: FreshMachine,
  at: string,
  { layout, tag }: { readonly layout: string; readonly tag: string },
  names: readonly string[],
): Promise<void> {
  const folder = (await machine.run('mktemp --directory --dry-run')).trim();
  await machine.copyIn(layout, folder);
  for (const name of names) {
    const places = `oci:${folder}:${tag} docker://${at}/${name}`;
    await machine.run(`skopeo --insecure-policy copy --quiet --all --dest-tls-verify=false ${places}`);
  }
}
