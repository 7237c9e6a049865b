/** What `--keep` prints: how to pull the same image through a running agent, with whatever is at hand. */
import type { ImageReference } from '@shoal/oci';
import { imageName, referenceOf } from '../image-argument.ts';

export function howToPull(mirrorUrls: readonly string[], image: ImageReference, runnable: boolean): string {
  const [first = ''] = mirrorUrls;
  const { host } = new URL(first);
  const { registry, repository } = image;
  const name = `${host}/${imageName(image)}`;
  const manifest = `${first}/v2/${repository}/manifests/${referenceOf(image)}?ns=${encodeURIComponent(registry)}`;
  const verb = runnable ? 'run --rm' : 'pull';
  return `
The cluster stays up until Ctrl-C. Its mirrors: ${mirrorUrls.join('  ')}

  docker      docker ${verb} ${name}
  podman      podman ${verb} --tls-verify=false ${name}
  containerd  ctr images pull --plain-http ${name}
  curl        curl '${manifest}'
`;
}
