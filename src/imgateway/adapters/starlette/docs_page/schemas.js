// Schemas as lists of members and as examples. A schema that contains itself is named where it comes again.
import { element } from "./elements.js";

const DEEPEST = 6;

function resolved(api, schema) {
  if (!schema?.$ref) return [schema ?? {}, null];
  const name = schema.$ref.split("/").pop();
  return [api.components.schemas[name] ?? {}, name];
}

export function typeOf(api, schema) {
  const [found, name] = resolved(api, schema);
  if (name) return name;
  if (found.type === "array") return `list of ${typeOf(api, found.items)}`;
  if (found.oneOf || found.anyOf) return (found.oneOf ?? found.anyOf).map((one) => typeOf(api, one)).join(" or ");
  if (found.additionalProperties && !found.properties) return `map of ${typeOf(api, found.additionalProperties)}`;
  const type = Array.isArray(found.type) ? found.type.join(" or ") : (found.type ?? "any");
  return found.format ? `${type} (${found.format})` : type;
}

export function schemaView(api, schema, seen = []) {
  const [found, name] = resolved(api, schema);
  const inner = name ? [...seen, name] : seen;
  if (found.type === "array" && !found.properties) {
    return element("div", {}, [element("span", { class: "type" }, "list of"), schemaView(api, found.items, inner)]);
  }
  const parts = [];
  if (found.description) parts.push(element("div", { class: "text" }, found.description));
  const properties = Object.entries(found.properties ?? {});
  if (!properties.length) parts.unshift(element("span", { class: "type" }, typeOf(api, schema)));
  if (properties.length) {
    parts.push(element("dl", {}, properties.flatMap(([key, member]) => memberView(api, key, member, inner))));
  }
  for (const one of found.oneOf ?? []) parts.push(schemaView(api, one, inner));
  return element("div", {}, parts);
}

function memberView(api, key, schema, seen) {
  const item = schema.type === "array" ? schema.items : schema;
  const [found, name] = resolved(api, item);
  const opens = found.properties && !seen.includes(name) && seen.length < DEEPEST;
  const description = schema.description ?? null;
  const inner = element("details", {}, [element("summary", { class: "type" }, typeOf(api, schema))]);
  if (opens) {
    inner.addEventListener("toggle", () => {
      if (inner.open && inner.children.length === 1) inner.append(schemaView(api, item, seen));
    });
  }
  return [
    element("dt", {}, key),
    element("dd", {}, [
      opens ? inner : element("span", { class: "type" }, typeOf(api, schema)),
      description ? element("div", { class: "text" }, description) : null,
    ]),
  ];
}

export function exampleOf(api, schema, seen = []) {
  const [found, name] = resolved(api, schema);
  if (name && seen.includes(name)) return {};
  const inner = name ? [...seen, name] : seen;
  if (found.properties) {
    const members = Object.entries(found.properties).filter(([, member]) => !member.readOnly);
    return Object.fromEntries(members.map(([key, member]) => [key, exampleOf(api, member, inner)]));
  }
  if (found.anyOf ?? found.oneOf) return exampleOf(api, (found.anyOf ?? found.oneOf)[0], inner);
  if (found.enum) return found.enum[found.enum.length > 1 ? 1 : 0];
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  if (type === "array") return [];
  if (type === "integer" || type === "number") return 0;
  if (type === "boolean") return false;
  if (type === "string") return found.format === "date-time" ? new Date(0).toISOString() : "";
  return type === "object" ? {} : null;
}
