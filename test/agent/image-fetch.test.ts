import t from 'tap';
import { messageOf, registryOf, sourceOf } from '../../agent/image-store/fetch.js';

t.test('a reference without a transport is one of a registry', async (t) => {
  const given = {
    debian: 'docker://debian',
    'debian:12': 'docker://debian:12',
    'localhost:5000/shop/web:v1': 'docker://localhost:5000/shop/web:v1',
    'shop/web@sha256:00ff': 'docker://shop/web@sha256:00ff',
    'docker://debian:12': 'docker://debian:12',
    'oci:/srv/layout:v1': 'oci:/srv/layout:v1',
    'docker-archive:/srv/web.tar': 'docker-archive:/srv/web.tar',
    // Not an option for skopeo.
    '--debug:x': 'docker://--debug:x',
  };
  for (const [reference, source] of Object.entries(given)) t.equal(sourceOf(reference), source);
});

t.test('which registry a reference is of', (t) => {
  const given = {
    'debian:12': 'docker.io',
    'shop/web@sha256:00ff': 'docker.io',
    'localhost/web': 'localhost',
    'localhost:5000/shop/web:v1': 'localhost:5000',
    'docker://registry.example/web': 'registry.example',
    'oci:/srv/layout:v1': 'oci:/srv/layout:v1',
  };
  for (const [reference, registry] of Object.entries(given)) t.equal(registryOf(reference), registry);
  t.end();
});

t.test('what skopeo says is told without its log format', async (t) => {
  const said = String.raw`skopeo: time="2026-11-25T01:14:37Z" level=fatal msg="Invalid image name \"debian\""`;
  t.equal(messageOf(said), 'skopeo: Invalid image name "debian"');
  t.equal(messageOf('skopeo is not installed'), 'skopeo is not installed');
});
