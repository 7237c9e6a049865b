/** What `shoal tracker` can be told. */
import { logSettings } from './log-settings.ts';
import { address, plainText } from './reader.ts';
import type { Setting } from './setting.ts';

export const trackerSettings: readonly Setting[] = [
  {
    beginsGroup: 'Address and state',
    key: 'listen',
    path: ['listen'],
    placeholder: 'HOST:PORT',
    help: 'where agents reach this tracker (HTTPS)',
    defaultText: '0.0.0.0:7302',
    reader: address,
    shape: 'one',
  },
  {
    key: 'data',
    path: ['dataDir'],
    placeholder: 'DIR',
    help: 'where the identity of the cluster is kept; back it up',
    defaultText: '/var/lib/shoal-tracker',
    reader: plainText,
    shape: 'one',
  },
  {
    key: 'identity',
    path: ['identityDir'],
    placeholder: 'DIR',
    help: 'an identity that is kept elsewhere, such as a mounted Secret, and only read; otherwise it is made in the data folder',
    reader: plainText,
    shape: 'one',
  },
  {
    key: 'store',
    path: ['store'],
    placeholder: 'STORE',
    help: 'level: state in the data folder; redis://[USER:PASSWORD@]HOST:PORT/DB or rediss://…: in a Valkey or Redis that several trackers of one --identity share',
    defaultText: 'level',
    reader: plainText,
    shape: 'one',
    secret: true,
  },
  {
    key: 'advertise',
    path: ['advertise'],
    placeholder: 'URL',
    help: 'how the other trackers on the store reach this one, https://HOST:PORT; otherwise where it listens',
    reader: plainText,
    shape: 'one',
  },
  {
    beginsGroup: 'Dashboard',
    key: 'dashboard',
    path: ['dashboard'],
    placeholder: 'HOST:PORT',
    help: "a web page that shows the cluster, e.g. 127.0.0.1:7304; HTTP on loopback, HTTPS with this tracker's own key elsewhere; none when left out",
    reader: address,
    shape: 'one',
  },
  {
    key: 'dashboard-name',
    path: ['dashboardNames'],
    placeholder: 'NAME',
    help: 'a name of the internet by which browsers may ask for that page, e.g. shoal.example.com; may be repeated',
    reader: plainText,
    shape: 'list',
  },
  ...logSettings,
];
