// One way to make elements: text is always text.
export function element(name, attributes, children = []) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  for (const child of [children].flat()) {
    if (child !== null) made.append(child);
  }
  return made;
}
