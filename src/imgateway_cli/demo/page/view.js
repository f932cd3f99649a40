// Everything on the page but the messages themselves.

import { byId, clear, element, paintAvatar, reconcile } from "./dom.js";
import { rowsOf, timeOf } from "./messages.js";

const NEAR_PX = 80;
const STATUS = { connecting: "Connecting…", online: "Online", waiting: "Reconnecting", offline: "Offline" };

export class View {
  constructor(on) {
    this.on = on;
    this.app = byId("app");
    this.log = byId("log");
    this.rows = byId("rows");
    this.draft = byId("draft");
    this.atEnd = true;
    this.wasOnline = false;
    this.limit = Number(document.querySelector("meta[name=max-content-bytes]").content);

    byId("login-form").addEventListener("submit", (event) => {
      event.preventDefault();
      on.login(byId("login-name").value, byId("login-password").value);
    });
    byId("leave").addEventListener("click", on.leave);
    byId("back").addEventListener("click", () => this.showPane("list"));
    byId("banner-action").addEventListener("click", on.reconnect);
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.draft.addEventListener("input", () => {
      this.measure();
      on.draft(this.draft.value);
    });
    this.draft.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a candidate; 229 is how older browsers say so.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    });
    byId("jump").addEventListener("click", () => this.toEnd());
    this.log.addEventListener("scroll", () => this.noteScroll(), { passive: true });
    new ResizeObserver(() => this.atEnd && this.toEnd()).observe(this.log);
  }

  submit() {
    if (byId("send").disabled) return;
    const content = this.draft.value.trimEnd();
    this.draft.value = "";
    this.measure();
    this.draft.focus();
    this.on.send(content);
    this.toEnd();
  }

  // Login

  showLogin(name = "", error = "") {
    this.app.hidden = true;
    byId("login").hidden = false;
    byId("login-name").value = name;
    byId("login-password").value = "";
    byId("login-error").textContent = error;
    byId("login-form").querySelector("button").disabled = false;
    byId("login-name").focus();
  }

  loggingIn() {
    byId("login-error").textContent = "";
    byId("login-form").querySelector("button").disabled = true;
  }

  showApp(userId, name) {
    byId("login").hidden = true;
    this.app.hidden = false;
    byId("me-name").textContent = name;
    paintAvatar(byId("me-avatar"), userId, name);
  }

  // Connection

  showState({ phase, reason, seconds }) {
    this.wasOnline ||= phase === "online";
    const status = byId("status");
    const text = phase === "connecting" && this.wasOnline ? STATUS.waiting : STATUS[phase];
    if (status.textContent !== text) status.textContent = text;
    status.dataset.phase = phase;
    const banner = byId("banner");
    banner.dataset.phase = phase;
    banner.hidden = phase === "online" || (phase === "connecting" && !this.wasOnline);
    byId("banner-action").hidden = phase === "connecting";
    byId("banner-action").textContent = phase === "waiting" ? "Try now" : "Connect again";
    byId("banner-text").textContent = {
      online: "",
      connecting: "Reconnecting…",
      waiting: `${this.wasOnline ? "Connection lost" : "No connection yet"}. Reconnecting in ${seconds} s.`,
      offline: reason,
    }[phase];
  }

  // Conversations

  showConversations(conversations, openId) {
    const list = [...conversations.values()].sort(
      (a, b) =>
        (b.kind === "group") - (a.kind === "group") ||
        (b.last?.at ?? 0) - (a.last?.at ?? 0) ||
        Boolean(b.online) - Boolean(a.online) ||
        a.title.localeCompare(b.title),
    );
    reconcile(
      byId("conversations"),
      list.map((conversation) => ({
        key: conversation.id,
        render: (node) => this.patchEntry(node ?? this.createEntry(conversation.id), conversation, openId),
      })),
    );
    const unread = list.reduce((sum, { unread }) => sum + unread, 0);
    const elsewhere = unread - (conversations.get(openId)?.unread ?? 0);
    document.title = unread ? `(${unread}) imgateway chat` : "imgateway chat";
    byId("back-badge").hidden = !elsewhere;
    byId("back-badge").textContent = elsewhere;
    byId("invite").hidden = list.length > 1;
  }

  createEntry(id) {
    const avatar = element("span", { className: "avatar", "aria-hidden": "true" });
    const title = element("bdi", { className: "title" });
    const preview = element("bdi", { className: "preview" });
    const time = element("time");
    const badge = element("span", { className: "badge" });
    const button = element(
      "button",
      { type: "button", className: "conversation", onclick: () => this.on.open(id) },
      avatar,
      title,
      time,
      preview,
      badge,
    );
    const node = element("li", {}, button);
    node.parts = { avatar, title, preview, time, badge, button };
    return node;
  }

  patchEntry(node, conversation, openId) {
    const { avatar, title, preview, time, badge, button } = node.parts;
    const { last, unread } = conversation;
    if (title.textContent !== conversation.title) {
      title.textContent = conversation.title;
      paintAvatar(avatar, conversation.peerId ?? conversation.id, conversation.title);
    }
    paintPresence(avatar, conversation);
    const who = last?.own ? "You: " : conversation.kind === "group" && last ? `${last.sender.name}: ` : "";
    preview.textContent = last ? who + last.content : subtitleOf(conversation);
    time.textContent = last ? timeOf(last.at) : "";
    badge.textContent = unread || "";
    badge.hidden = !unread;
    badge.setAttribute("aria-label", `${unread} unread`);
    button.setAttribute("aria-current", conversation.id === openId);
    return node;
  }

  // The open conversation

  open(conversation) {
    this.log.setAttribute("aria-live", "off"); // what is already there is read, not announced
    clear(this.rows);
    this.draft.value = conversation.draft;
    this.atEnd = true;
    this.showPane("chat");
    this.showConversation(conversation);
    this.measure();
    requestAnimationFrame(() => this.log.setAttribute("aria-live", "polite"));
    if (!matchMedia("(pointer: coarse)").matches) this.draft.focus();
  }

  showConversation(conversation, people) {
    byId("chat-title").textContent = conversation.title;
    byId("chat-subtitle").textContent = subtitleOf(conversation, people);
    const avatar = byId("chat-avatar");
    paintAvatar(avatar, conversation.peerId ?? conversation.id, conversation.title);
    paintPresence(avatar, conversation);
    reconcile(this.rows, rowsOf(conversation, this.on));
    if (this.atEnd) this.toEnd();
    else this.noteScroll();
  }

  get showsMessages() {
    return document.visibilityState === "visible" && this.log.offsetParent !== null;
  }

  showPane(pane) {
    this.app.dataset.pane = pane;
    if (pane === "chat") this.on.looked?.();
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.noteScroll();
  }

  noteScroll() {
    this.atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_PX;
    byId("jump").hidden = this.atEnd;
  }

  // Composer

  measure() {
    const bytes = new TextEncoder().encode(this.draft.value.trimEnd()).length;
    const over = bytes > this.limit;
    const limit = byId("limit");
    limit.textContent =
      bytes > this.limit * 0.8
        ? `${bytes.toLocaleString()} of ${this.limit.toLocaleString()} bytes${over ? ": too long to send" : ""}`
        : "";
    limit.classList.toggle("over", over);
    byId("send").disabled = !this.draft.value.trim() || over;
    this.draft.style.height = "auto";
    this.draft.style.height = `${this.draft.scrollHeight + 2}px`;
  }
}

function paintPresence(avatar, { kind, online }) {
  if (kind === "direct" && online !== null) avatar.dataset.online = online;
  else delete avatar.dataset.online;
}

function subtitleOf({ kind, online }, people) {
  if (kind === "direct") return online === null ? "Presence unknown" : online ? "Online" : "Offline";
  if (!people) return "Everyone is here";
  const all = `${people.all} ${people.all === 1 ? "person" : "people"}`;
  return people.online === null ? all : `${all}, ${people.online} online`;
}
