// The messages of one conversation as rows: bubbles grouped by sender, days, restarts, delivery ticks.

import { element, icon, paintAvatar } from "./dom.js";

const GROUP_MS = 5 * 60_000;
const JUMBO = /^(?:\p{Extended_Pictographic}[\p{Emoji_Modifier}\u200d\ufe0f]*){1,6}$/u;
const TICKS = {
  sending: ["clock", "Sending"],
  accepted: ["accepted", "Sent"],
  read: ["read", "Read"],
  failed: ["failed", "Not sent"],
};

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const dayFormat = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

export const timeOf = (at) => timeFormat.format(at);

function dayOf(at) {
  const day = new Date(at).toDateString();
  if (day === new Date().toDateString()) return "Today";
  if (day === new Date(Date.now() - 86_400_000).toDateString()) return "Yesterday";
  return dayFormat.format(at);
}

const groupable = (a, b) =>
  a && b && a.own === b.own && (a.own || a.sender.id === b.sender.id) && !a.past === !b.past &&
  Math.abs(b.at - a.at) < GROUP_MS && dayOf(a.at) === dayOf(b.at);

const divider = (key, kind, text) => ({
  key,
  render: (node) => node ?? element("p", { className: "divider", "data-kind": kind }, text),
});

export function rowsOf(conversation, actions) {
  const rows = [];
  const messages = [...conversation.messages.values()];
  messages.forEach((message, index) => {
    const before = messages[index - 1];
    const after = messages[index + 1];
    if (before?.past && !message.past) {
      rows.push(divider("restart", "restart", "The server was restarted. What is above is kept in this tab only."));
    }
    const day = dayOf(message.at);
    if (!before || dayOf(before.at) !== day) rows.push(divider(`day ${day} ${Boolean(message.past)}`, "day", day));
    const place = { first: !groupable(before, message), last: !groupable(message, after) };
    rows.push({
      key: message.key,
      render: (node) => patch(node ?? create(message, actions), message, conversation, place),
    });
  });
  if (messages.length && messages.at(-1).past) {
    rows.push(divider("restart", "restart", "The server was restarted. What is above is kept in this tab only."));
  }
  if (!messages.length) {
    const text = conversation.kind === "group" ? "No messages yet. Say hello to everyone." : "No messages yet. Say hello.";
    rows.push({ key: "empty", render: (node) => node ?? element("p", { className: "empty" }, text) });
  }
  return rows;
}

function create(message, actions) {
  const content = element("span", { className: "content", dir: "auto" });
  const time = element("time");
  const foot = element("span", { className: "foot" }, time);
  const bubble = element("div", { className: "bubble" }, content, foot);
  const column = element("div", { className: "column" }, bubble);
  const node = element("div", { className: "message" }, column);
  node.classList.toggle("own", message.own);
  node.parts = { content, time, foot, bubble, column };
  node.actions = actions;
  return node;
}

function patch(node, message, conversation, { first, last }) {
  const { content, time, foot, column } = node.parts;
  node.classList.toggle("first", first);
  node.classList.toggle("last", last);
  if (content.textContent !== message.content) {
    content.textContent = message.content;
    content.classList.toggle("jumbo", JUMBO.test(message.content));
  }
  if (node.at !== message.at) {
    node.at = message.at;
    time.textContent = timeOf(message.at);
    time.dateTime = new Date(message.at).toISOString();
  }
  if (message.own) patchState(node, message, conversation.stateOf(message));
  else patchSender(node, column, message.sender, first && conversation.kind === "group", last);
  node.setAttribute("data-message-id", message.id ?? "");
  foot.title = new Date(message.at).toLocaleString();
  return node;
}

function patchSender(node, column, sender, named, pictured) {
  if (!node.parts.author) {
    node.parts.author = element("bdi", { className: "author" });
    node.parts.avatar = element("span", { className: "avatar", "aria-hidden": "true" });
    column.prepend(node.parts.author);
    node.prepend(node.parts.avatar);
  }
  const { author, avatar } = node.parts;
  if (author.textContent !== sender.name) {
    author.textContent = sender.name;
    paintAvatar(avatar, sender.id, sender.name);
  }
  author.classList.toggle("visually-hidden", !named);
  avatar.classList.toggle("blank", !pictured);
}

function patchState(node, message, state) {
  if (node.dataset.state !== state) {
    node.dataset.state = state;
    node.parts.tick?.remove();
    node.parts.tick = icon(...TICKS[state]);
    node.parts.tick.classList.toggle("wide", state === "read");
    node.parts.foot.append(node.parts.tick);
    node.parts.failure?.remove();
    node.parts.failure = undefined;
  }
  if (state === "failed" && !node.parts.failure) {
    const { retry, discard } = node.actions;
    const failure = element("div", { className: "failure", role: "alert" }, element("span", {}, message.error));
    if (message.canRetry) failure.append(element("button", { type: "button", onclick: () => retry(message) }, "Retry"));
    failure.append(element("button", { type: "button", onclick: () => discard(message) }, "Discard"));
    node.parts.failure = failure;
    node.parts.column.append(failure);
  }
}
