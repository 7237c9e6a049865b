/** What every contender finds: hosts on shaped links, a registry that holds the image, the rates that the links really carry. */
import { REGISTRY } from '../rig/daemons.ts';
import type { LinkRates } from '../rig/link-check.ts';
import type { RigFolder } from '../rig/rig-folder.ts';
import type { Host, RigNetwork } from '../rig/rig-network.ts';
import type { BenchImage } from './image.ts';
import type { RegistryDaemon } from './registry.ts';
import type { RolloutSettings } from './settings.ts';

export interface RolloutHosts {
  readonly origin: Host;
  /** With a link like the origin's. */
  readonly cache: Host;
  readonly tracker: Host;
  readonly nodes: readonly Host[];
}

export interface Stage {
  readonly settings: RolloutSettings;
  readonly network: RigNetwork;
  readonly folder: RigFolder;
  readonly hosts: RolloutHosts;
  readonly origin: RegistryDaemon;
  readonly image: BenchImage;
  /** What all nodes pull before anything is measured. */
  readonly before: readonly BenchImage[];
  readonly rates: LinkRates;
}

export function referenceOf({ repository, tag }: BenchImage): string {
  return `${REGISTRY}/${repository}:${tag}`;
}
