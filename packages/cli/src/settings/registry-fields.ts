/** The keys below a registry's host in the YAML file. */

/** A key below a registry's host. */
export interface RegistryField {
  readonly field: string;
  /** What the configuration page calls the value, and says of it. */
  readonly placeholder: string;
  readonly help: string;
  /** How what is written becomes the value: as text, as it is, by reading it, or from the file that it names. */
  readonly kind: 'text' | 'boolean' | 'duration' | 'file';
  readonly secret?: true;
}

export const registryFields: ReadonlyMap<string, RegistryField> = new Map<string, RegistryField>([
  [
    'url',
    {
      field: 'url',
      placeholder: 'URL',
      help: 'how to reach it; `https://HOST` when left out, `http://HOST` for loopback hosts',
      kind: 'text',
    },
  ],
  ['username', { field: 'username', placeholder: 'NAME', help: "the node's own login there", kind: 'text' }],
  [
    'password',
    { field: 'password', placeholder: 'TEXT', help: 'its password; better in a file', kind: 'text', secret: true },
  ],
  [
    'password-file',
    {
      field: 'password',
      placeholder: 'FILE',
      help: 'the file that holds the password, in place of `password`',
      kind: 'file',
      secret: true,
    },
  ],
  ['tag-fresh', { field: 'tagFreshMs', placeholder: 'TIME', help: '`tag-fresh` for this registry', kind: 'duration' }],
  ['tag-stale', { field: 'tagStaleMs', placeholder: 'TIME', help: '`tag-stale` for this registry', kind: 'duration' }],
  [
    'open-to-clients',
    {
      field: 'openToClients',
      placeholder: 'true|false',
      help: "whether every client of this node may read what the node's own login opens, private images included",
      kind: 'boolean',
    },
  ],
  [
    'insecure-tls',
    {
      field: 'insecureTls',
      placeholder: 'true|false',
      help: 'whether any certificate is accepted',
      kind: 'boolean',
    },
  ],
  [
    'ca-file',
    {
      field: 'ca',
      placeholder: 'FILE',
      help: "PEM certificates that are trusted there beside the system's",
      kind: 'file',
    },
  ],
]);
