// Finding one's way through an OpenAPI document.

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];

// What a reference stands for, with its name; what is none, as it is.
export function resolved(api, value) {
  const reference = value?.$ref;
  if (!reference) return [value ?? {}, null];
  const keys = reference.replace(/^#\//, "").split("/");
  return [keys.reduce((found, key) => found?.[key], api) ?? {}, keys.at(-1)];
}

// The services with their operations, in the document's order.
export function services(api) {
  const found = new Map((api.tags ?? []).map((tag) => [tag.name, { ...tag, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS.filter((name) => name in item)) {
      const operation = item[method];
      const name = operation.tags?.[0] ?? "Other";
      if (!found.has(name)) found.set(name, { name, operations: [] });
      found.get(name).operations.push({
        method,
        path,
        operation,
        id: operation.operationId,
        isPublic: !(operation.security ?? []).length,
        text: [method, path, name, operation.summary, operation.description, operation.operationId].join(" ").toLowerCase(),
      });
    }
  }
  return [...found.values()].filter(({ operations }) => operations.length);
}
