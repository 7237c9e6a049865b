/** k3s and RKE2: registries.yaml, with the mirror for every registry ("*") and in front of those that are named. */
import { Document, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml';
import { changeOf, MADE_BY, type Planner, SetupProblem } from './plan.ts';

const CONFIG_FILE = '/etc/rancher/k3s/registries.yaml';
const ALL = '*';

export const planK3s: Planner = async ({ configFile = CONFIG_FILE, mirror }, files) => {
  const before = await files.read(configFile);
  const document = parse(configFile, before);
  if (!document.hasIn(['mirrors'])) document.set('mirrors', document.createNode({}));
  const mirrors = document.get('mirrors');
  if (!isMap(mirrors)) throw new SetupProblem(`mirrors in ${configFile} is no map; mend it first`);
  if (!mirrors.has(ALL)) mirrors.set(ALL, document.createNode({ endpoint: [] }));
  for (const { key } of [...mirrors.items]) putFirst(document, mirrors, String(key), mirror.url, configFile);
  const after = before === undefined ? `${MADE_BY}\n${document.toString()}` : document.toString();
  const isSame = before !== undefined && isEqual(before, after);
  const changes = changeOf(configFile, before, isSame ? before : after);
  return {
    changes,
    reload: changes.length === 0 ? undefined : 'systemctl restart k3s',
    notes:
      changes.length === 0
        ? []
        : ['On an agent node the service is k3s-agent; for RKE2 give --config-file /etc/rancher/rke2/registries.yaml.'],
  };
};

function parse(file: string, text: string | undefined): Document {
  if (text === undefined || text.trim() === '') return new Document({});
  const document = parseDocument(text);
  if (document.errors.length > 0) throw new SetupProblem(`${file} is not valid YAML; mend it first`);
  if (document.contents === null) return new Document({});
  if (!isMap(document.contents)) throw new SetupProblem(`${file} is no map; mend it first`);
  return document;
}

function putFirst(document: Document, mirrors: YAMLMap, name: string, url: string, file: string): void {
  const entry = mirrors.get(name);
  if (!isMap(entry)) {
    mirrors.set(name, document.createNode({ endpoint: [url] }));
    return;
  }
  const endpoints = entry.get('endpoint');
  if (endpoints === undefined || endpoints === null) {
    entry.set('endpoint', document.createNode([url]));
  } else if (!isSeq(endpoints)) {
    throw new SetupProblem(`the endpoint of ${name} in ${file} is no list; mend it first`);
  } else {
    const others = endpoints.toJSON() as unknown[];
    if (others[0] === url) return;
    entry.set('endpoint', document.createNode([url, ...others.filter((other) => other !== url)]));
  }
}

function isEqual(before: string, after: string): boolean {
  return JSON.stringify(parseDocument(before).toJSON()) === JSON.stringify(parseDocument(after).toJSON());
}
