// Small pieces of the page. Text goes in as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export function icon(name, label) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  if (label) {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  } else svg.setAttribute("aria-hidden", "true");
  return svg;
}

const graphemes = Intl.Segmenter ? new Intl.Segmenter() : null;

export function paintAvatar(node, id, name) {
  let hash = 0;
  for (const char of id) hash = Math.imul(hash ^ char.codePointAt(0), 0x01000193) >>> 0;
  node.style.setProperty("--hue", id === "lobby" ? 245 : Math.round(hash * 137.508) % 360); // the golden angle spreads
  const first = graphemes ? [...graphemes.segment(name)][0]?.segment : [...name][0];
  node.replaceChildren(id === "lobby" ? icon("group") : (first ?? "?").toUpperCase());
}

// Makes the children of `container` those of `items`, in order: each {key, render(node or undefined) -> node}.
// What stays in place is not touched, so that focus, selection and screen readers are not disturbed.
export function reconcile(container, items) {
  const nodes = (container.keyed ??= new Map());
  const keys = new Set(items.map(({ key }) => key));
  for (const [key, node] of nodes) {
    if (keys.has(key)) continue;
    node.remove();
    nodes.delete(key);
  }
  let cursor = container.firstElementChild;
  for (const { key, render } of items) {
    const node = render(nodes.get(key));
    nodes.set(key, node);
    if (node === cursor) cursor = cursor.nextElementSibling;
    else container.insertBefore(node, cursor);
  }
}

export function clear(container) {
  container.replaceChildren();
  container.keyed = new Map();
}
