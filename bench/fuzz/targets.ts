/** What reads text that strangers wrote, and what must hold of it whatever they wrote. */
import {
  applyRange,
  digestHex,
  isRepositoryName,
  isTag,
  normaliseRegistryHost,
  parseChallenges,
  parseDigest,
  parseImageReference,
  parseRangeHeader,
} from '@shoal/oci';
import { rewriteLink } from '../../packages/agent/src/mirror/relay-answer.ts';
import { DockerConfig } from '../../packages/agent/src/origin/docker-config.ts';
import { planPodman } from '../../packages/cli/src/setup/containers.ts';
import { withMirror } from '../../packages/cli/src/setup/hosts-toml.ts';
import { SetupProblem } from '../../packages/cli/src/setup/plan.ts';
import { parseToml, tomlAt } from '../../packages/cli/src/setup/toml-edit.ts';

export interface Target {
  name: string;
  /** Good texts, to be spoilt. */
  corpus: readonly string[];
  /** @throws when something does not hold */
  check(text: string): void | Promise<void>;
}

const DIGEST = `sha256:${'0a'.repeat(32)}`;
const SIZE = 10_000;
const mirror = { url: 'http://127.0.0.1:7300', host: '127.0.0.1:7300' };
const route = { path: '/v2/ghcr.io/org/app/tags/list', namespace: undefined };

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Undefined when it is refused with reasons. */
function unlessRefused<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof SetupProblem) return undefined;
    throw error;
  }
}

export const targets: readonly Target[] = [
  {
    name: 'image references',
    corpus: [
      'alpine',
      'ghcr.io/org/app:v1',
      `localhost:5000/a/b@${DIGEST}`,
      '[::1]:5000/x:y',
      `docker.io/library/a_b-c.d:1@${DIGEST}`,
    ],
    check(text) {
      const found = parseImageReference(text);
      if (found === undefined) return;
      const { registry, repository, tag, digest } = found;
      must(normaliseRegistryHost(registry) === registry, 'the registry is normal');
      must(isRepositoryName(repository), 'the repository is a name');
      must(tag === undefined || isTag(tag), 'the tag is a tag');
      must(digest === undefined || parseDigest(digest) === digest, 'the digest is a digest');
    },
  },
  {
    name: 'digests',
    corpus: [DIGEST, `sha512:${'0'.repeat(128)}`, 'sha256:', 'md5:00', DIGEST.toUpperCase()],
    check(text) {
      const digest = parseDigest(text);
      must(
        digest === undefined || (digest === text && /^[0-9a-f]{64,128}$/.test(digestHex(digest))),
        'a digest is its own text',
      );
    },
  },
  {
    name: 'challenges',
    corpus: [
      'Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull"',
      'Basic realm="x", Bearer realm=y , Negotiate abc==',
      'Digest realm="a\\"b", nonce="c,d", qop=auth',
    ],
    check(text) {
      const found = parseChallenges(text);
      must(found.length <= 16, 'few challenges');
      for (const { scheme, parameters } of found) {
        must(scheme === scheme.toLowerCase() && scheme !== '', 'schemes are lower case');
        for (const name of parameters.keys()) must(name === name.toLowerCase() && name !== '', 'names are lower case');
      }
    },
  },
  {
    name: 'ranges',
    corpus: [
      'bytes=0-',
      'bytes=500-1499',
      'bytes=-500',
      'bytes=500-0',
      'bytes=0-1,5-6',
      'bytes=9999-20000',
      'items=0-1',
    ],
    check(text) {
      const asked = applyRange(parseRangeHeader(text), SIZE);
      if (asked.kind !== 'range') return;
      const { start, end } = asked;
      must(Number.isSafeInteger(start) && Number.isSafeInteger(end), 'whole numbers');
      must(0 <= start && start < end && end <= SIZE, 'inside the blob, and not empty');
    },
  },
  {
    name: 'links',
    corpus: [
      '</v2/org/app/tags/list?n=1&last=a>; rel="next"',
      '<https://ghcr.io/v2/x?last=%2F&ns=evil>; rel=next, <y>',
    ],
    check(text) {
      for (const [, target = ''] of rewriteLink(text, route).matchAll(/<([^<>]*)>/g)) {
        must(target.startsWith(`${route.path}?`), 'every link leads back here');
        must(!/[?&]ns=/.test(target), 'and names no other registry');
      }
    },
  },
  {
    name: 'docker configs',
    corpus: [
      '{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"},"quay.io/org":{"username":"a","password":"b"}}}',
      '{"credHelpers":{"a.io":"ecr-login"},"credsStore":"pass","auths":{"b.io":{"identitytoken":"x"}}}',
    ],
    check(text) {
      const config = DockerConfig.parse(text);
      const helper = config?.helper('a.io')?.helper;
      must(helper === undefined || /^[A-Za-z0-9][\w.-]*$/.test(helper), 'a helper is a name, not a path');
      config?.credential({ registry: 'quay.io', name: 'org/app' });
    },
  },
  {
    name: 'hosts.toml',
    corpus: [
      'server = "https://ghcr.io"\n\n[host."https://a"]\n  capabilities = ["pull", "resolve"]\n',
      '# note\n[host."https://a".header]\n  x = ["y"]\n[host."http://b:5000"]\n  skip_verify = true\n',
      '',
    ],
    check(text) {
      const edited = unlessRefused(() => withMirror('hosts.toml', text, mirror));
      if (edited === undefined) return;
      const [hosts, before] = [edited, text].map((toml) => tomlAt(parseToml('hosts.toml', toml), ['host']) ?? {});
      must(Object.keys(hosts ?? {})[0] === mirror.url, 'the mirror is first');
      for (const [name, value] of Object.entries(before ?? {})) {
        const kept = (hosts as Record<string, unknown>)[name];
        must(JSON.stringify(kept) === JSON.stringify(value), 'the others are as they were');
      }
      must(withMirror('hosts.toml', edited, mirror) === edited, 'a second time changes nothing');
    },
  },
  {
    name: 'registries.conf',
    corpus: [
      'unqualified-search-registries = ["docker.io"]\n[[registry]]\nprefix = "quay.io"\nlocation = "cache/quay"\n[[registry.mirror]]\nlocation = "m"\n',
      '[[registry]]\nlocation = "ghcr.io"\nblocked = true\n',
      '',
    ],
    async check(text) {
      const files = {
        read: async (path: string) => (path.endsWith('registries.conf') ? text : undefined),
        list: async () => [],
      };
      const options = { mirror, configFile: undefined, registriesDir: undefined, registries: [] };
      const plan = await planPodman(options, files).catch((error: unknown) => {
        if (error instanceof SetupProblem) return undefined;
        throw error;
      });
      for (const { after } of plan?.changes ?? []) {
        for (const table of tomlAt(parseToml('made', after), ['registry']) as Record<string, unknown>[]) {
          const [first] = table.mirror as { location: string }[];
          must(first?.location.startsWith(`${mirror.host}/`) === true, 'the mirror is first in every table');
        }
      }
    },
  },
];
