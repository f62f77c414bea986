import type { Desired, DesiredInstance } from '../protocol/link.js';
import type { Component } from '../protocol/manifest.js';

/** What is to be done on this host for the desired state; pure. */
export type Action =
  | { kind: 'create'; instance: DesiredInstance; component: Component }
  | { kind: 'resize'; id: string; size: DesiredInstance['size'] }
  | { kind: 'drain'; id: string }
  | { kind: 'pause'; id: string; paused: boolean }
  | { kind: 'terminate'; id: string };

export interface Present {
  id: string;
  size: { cpu: number; memory: number };
  draining: boolean;
  paused: boolean;
  /** Whether it can be paused now: it serves. */
  pausable: boolean;
  stopping: boolean;
}

/** Applied to the result of its own actions it answers nothing more. */
export function reconcile(desired: Desired, present: readonly Present[]): Action[] {
  const actions: Action[] = [];
  const known = new Map(present.map((each) => [each.id, each]));
  const wanted = new Set(desired.instances.map((each) => each.id));
  for (const { id, stopping } of present) {
    if (!wanted.has(id) && !stopping) actions.push({ kind: 'terminate', id });
  }
  for (const instance of desired.instances) {
    const here = known.get(instance.id);
    if (here === undefined) {
      const component = ownComponent(desired, instance);
      if (component !== undefined && !instance.draining) actions.push({ kind: 'create', instance, component });
      continue;
    }
    if (here.stopping) continue;
    const { size, paused = false } = instance;
    if (here.size.cpu !== size.cpu || here.size.memory !== size.memory) {
      actions.push({ kind: 'resize', id: here.id, size });
    }
    if (paused !== here.paused && (here.paused || here.pausable)) actions.push({ kind: 'pause', id: here.id, paused });
    if (instance.draining && !here.draining) actions.push({ kind: 'drain', id: here.id });
  }
  return actions;
}

function ownComponent(desired: Desired, { app, component }: DesiredInstance): Component | undefined {
  const components = Object.hasOwn(desired.apps, app) ? desired.apps[app] : undefined;
  return components !== undefined && Object.hasOwn(components, component) ? components[component] : undefined;
}
