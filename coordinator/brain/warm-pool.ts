import type { DesiredWarm } from '../../protocol/link.js';
import type { Component } from '../../protocol/manifest.js';

/**
 * Processes that shall wait on a host of an app: as many as the manifest allows and as could still become instances
 * there, each with the size of a smallest instance until it is one. Pure.
 *
 * @param present instances that the host has, by component
 */
export function warmOn(
  app: string,
  components: Readonly<Record<string, Component>>,
  present: ReadonlyMap<string, number>,
): DesiredWarm[] {
  return Object.entries(components).flatMap(([component, { warm = 0, count, size }]) => {
    const wanted = Math.min(warm, count.max - (present.get(component) ?? 0));
    const least = { cpu: size.cpu.min, memory: size.memory.min };
    return wanted > 0 ? [{ app, component, count: wanted, size: least }] : [];
  });
}
