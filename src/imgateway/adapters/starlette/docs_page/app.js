// Reads the gateway's own description of its routes and shows it.
import { services } from "./document.js";
import { element } from "./elements.js";
import { operationView } from "./operation.js";
import { pathParts, prose } from "./text.js";

const RETRY_MS = 2000;

const byId = (id) => document.getElementById(id);
const [state, about, operations, index, filter, token] =
  ["state", "about", "operations", "index", "filter", "token"].map(byId);

let sections = [];

// In this tab only, and gone with it.
token.value = sessionStorage.getItem("token") ?? "";
token.addEventListener("input", () => sessionStorage.setItem("token", token.value.trim()));
filter.addEventListener("input", show);
byId("tools").addEventListener("submit", (event) => event.preventDefault());
addEventListener("hashchange", openNamed);
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  filter.focus();
});

function say(text, kind = "") {
  state.className = `state ${kind}`;
  if (state.textContent !== text) state.textContent = text;
  state.hidden = text === "";
}

async function load() {
  let response;
  try {
    response = await fetch("openapi.json");
  } catch {
    say("The gateway can't be reached. Trying again …", "waiting");
    setTimeout(load, RETRY_MS);
    return;
  }
  if (response.status === 503) {
    say("The services have not said yet what they offer. Trying again …", "waiting");
    setTimeout(load, RETRY_MS);
    return;
  }
  if (!response.ok) {
    say(`The description can't be read: ${response.status} ${response.statusText}`, "failed");
    return;
  }
  try {
    build(await response.json());
  } catch (error) {
    say(`The description can't be understood: ${error.message}`, "failed");
    return;
  }
  show();
  openNamed();
}

function build(api) {
  document.title = api.info.title;
  byId("title").textContent = api.info.title;
  about.replaceChildren(...prose(api.info.description ?? ""));
  sections = services(api).map(({ name, description, operations: all }) => {
    const views = all.map((each) => ({ ...each, view: operationView(api, each, token), link: linkTo(each) }));
    const links = element("ul", {}, views.map(({ link }) => link));
    return {
      views,
      section: element("section", {}, [
        element("h2", {}, name),
        description ? element("div", { class: "prose" }, prose(description)) : null,
        ...views.map(({ view }) => view),
      ]),
      links: element("div", {}, [element("p", { class: "index-title" }, name), links]),
    };
  });
  operations.replaceChildren(...sections.map(({ section }) => section));
  index.replaceChildren(...sections.map(({ links }) => links));
}

function linkTo({ id, method, path }) {
  return element("li", {}, [
    element("a", { href: `#${id}` }, [
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, pathParts(path)),
    ]),
  ]);
}

function show() {
  const words = filter.value.trim().toLowerCase().split(/\s+/);
  let any = false;
  for (const { section, links, views } of sections) {
    let some = false;
    for (const { view, link, text } of views) {
      const fits = words.every((word) => text.includes(word));
      view.hidden = link.hidden = !fits;
      some ||= fits;
    }
    section.hidden = links.hidden = !some;
    any ||= some;
  }
  about.hidden = !any || !about.childElementCount;
  say(any ? "" : sections.length ? "No route has these words." : "There are no routes.", "empty");
}

// The operation that the address names: opened, and scrolled to.
function openNamed() {
  const named = location.hash.length > 1 ? byId(decodeURIComponent(location.hash.slice(1))) : null;
  if (!named?.matches("details.operation")) return;
  if (named.hidden) {
    filter.value = "";
    show();
  }
  named.open = true;
  named.scrollIntoView();
}

load();
