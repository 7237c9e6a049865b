/** Whether a registry answers this node, by the agent's own way: name, connection, TLS, `GET /v2/`, credentials, what is left of its limit. */
import type { RegistryFact } from './facts.ts';
import { type Finding, named } from './finding.ts';

const FEW_PULLS = 10;

export function checkOrigin(fact: RegistryFact): Finding {
  const { registry, url, outcome, limit } = fact;
  const { ok, warn, fail } = named(`origin ${registry}`);
  const login = LOGINS[outcome];
  if (login === undefined) return fail(...failure(fact));
  const left =
    limit === undefined
      ? ''
      : `; ${limit.remaining}${limit.limit === undefined ? '' : ` of ${limit.limit}`} pulls left`;
  const detail = `${url ?? registry} answers, ${login}${left}`;
  const loginSetting = `set username and password-file under registry: ${registry} in /etc/shoal/agent.yaml, or docker-config`;
  if (outcome === 'denied') return fail(detail, `correct them: ${loginSetting}`);
  if (limit !== undefined && limit.remaining < FEW_PULLS) {
    const more =
      outcome === 'accepted'
        ? 'wait, or use an account with a higher limit'
        : `log in for a higher limit: ${loginSetting}`;
    return warn(detail, more);
  }
  return ok(detail);
}

const LOGINS: Readonly<Record<string, string | undefined>> = {
  open: 'without a login',
  anonymous: 'gives tokens to anybody',
  accepted: "accepts the node's credentials",
  denied: "refuses the node's credentials",
  wanted: 'wants a login: clients bring their own',
};

function failure(fact: RegistryFact): [detail: string, todo: string] {
  const { registry, outcome, message = '', status } = fact;
  const setting = `registry: ${registry} in /etc/shoal/agent.yaml`;
  if (outcome === 'blocked-host') {
    return [
      `the agent may not dial ${registry}: it is not public, or not allowed`,
      `name it: --registry ${registry}=http://ADDRESS, or ${setting}; check allow-registry`,
    ];
  }
  if (status === 508) {
    return [
      `the address of ${registry} leads back to a Shoal mirror: requests would go round`,
      `set its own address, past the mirror, under ${setting}`,
    ];
  }
  if (outcome === 'rate-limited') {
    return [`${message}: too many requests`, `log in for a higher limit: username and password-file under ${setting}`];
  }
  if (outcome === 'unreachable' || outcome === 'timeout') return unreachable(fact);
  if (outcome === 'unavailable')
    return [message, 'wait for the registry to recover; what the cluster holds is served meanwhile'];
  return [
    `${message}, which is not how a registry answers`,
    `check the address under ${setting}: curl -i ADDRESS/v2/ should say 200 or 401`,
  ];
}

function unreachable({ registry, url, message = '', cause = '' }: RegistryFact): [detail: string, todo: string] {
  const base = (url ?? `https://${registry}`).replace(/\/+$/, '');
  if (cause === 'ENOTFOUND' || cause === 'EAI_AGAIN') {
    return [
      `the name of ${registry} cannot be looked up (${cause})`,
      `see what this node's name server says: getent hosts ${registry}; or give an address: --registry ${registry}=https://ADDRESS`,
    ];
  }
  if (cause === 'ERR_SSL_WRONG_VERSION_NUMBER' || cause === 'EPROTO') {
    return [
      `${registry} is asked over TLS and answers without (${cause})`,
      `is it plain HTTP, give its address so: registry: ${registry}: { url: ${base.replace(/^https:/, 'http:')} } in /etc/shoal/agent.yaml`,
    ];
  }
  if (/^(CERT_|ERR_TLS|ERR_SSL|UNABLE_|SELF_SIGNED|DEPTH_ZERO|HOSTNAME_MISMATCH)/.test(cause)) {
    return [
      `TLS with ${registry} fails (${cause})`,
      `name the authority that signed its certificate: ca-file under registry: ${registry} in /etc/shoal/agent.yaml`,
    ];
  }
  const refused = cause === 'ECONNREFUSED' ? 'see that the registry runs there, and' : 'see';
  return [message, `${refused} that this node may reach it (routes, firewall, proxy): curl -i ${base}/v2/`];
}
