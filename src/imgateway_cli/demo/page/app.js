// Brings together who this tab is, its connection, what it knows and what it shows.

import { LOBBY, history, standing } from "./backend.js";
import { Connection } from "./connection.js";
import { Conversation } from "./conversations.js";
import { Session } from "./session.js";
import { View } from "./view.js";

const RETRY_MS = 2_000;
const MARK_MS = 200;
const MAX_HELD = 2_000; // frames kept back while the first answer of the back end is awaited
const TEMPORARY = ["UNAVAILABLE", "OVERLOADED", "RATE_LIMITED"];

const session = new Session();
const conversations = new Map();
const met = new Set(); // user ids
let openId = LOBBY;
let epoch = null;
let held = null; // frames that came before the back end said where everything stands; null: none are kept back
let syncTurn = 0;
let markTimer = null;
const looked = new Set(); // conversations whose read marks wait for the timer
let state = { phase: "connecting" };

const view = new View({
  login,
  leave,
  send,
  retry,
  discard,
  open,
  reconnect: () => connection.start(),
  draft: (text) => (conversations.get(openId).draft = text),
  looked: () => markRead(),
});
const connection = new Connection({
  session,
  deviceId: session.deviceId,
  on: { state: entered, welcome: welcomed, frame: received },
});

// Coming and going

async function login(name, password) {
  view.loggingIn();
  try {
    await session.login(name, password);
    begin();
  } catch (problem) {
    view.showLogin(name, problem.message);
  }
}

function leave() {
  connection.stop();
  session.leave();
  location.reload();
}

function begin() {
  met.add(session.userId);
  view.showApp(session.userId, session.name);
  conversation({ id: LOBBY, kind: "group", title: "Lobby" });
  open(LOBBY);
  connection.start();
}

function entered(next) {
  state = next;
  showState();
  if (state.phase === "online") return;
  syncTurn++;
  // Who comes and goes meanwhile is not told: nobody's presence is known until the next answer of the back end.
  for (const each of conversations.values()) each.online = null;
  if (conversations.size) render();
}

function showState() {
  const seconds = Math.max(1, Math.ceil((state.retryAt - Date.now()) / 1000));
  view.showState({ ...state, seconds });
}

// What the server knows

function conversation({ id, ...known }) {
  if (!conversations.has(id)) conversations.set(id, new Conversation(id, session.userId));
  return Object.assign(conversations.get(id), known);
}

// Someone new is asked about once.
function meet(userId) {
  if (met.has(userId)) return;
  met.add(userId);
  sync();
}

function welcomed() {
  held = [];
  for (const each of conversations.values()) resend(each);
  sync();
}

async function sync() {
  const turn = ++syncTurn;
  // The answer is older than what arrives while it is on its way.
  const before = new Map([...conversations.values()].map(({ id, whole }) => [id, whole]));
  try {
    const answer = await standing(session);
    if (turn !== syncTurn) return;
    const restarted = epoch !== null && epoch !== answer.epoch;
    epoch = answer.epoch;
    for (const each of conversations.values()) {
      if (restarted) restart(each);
      each.online = false;
    }
    for (const summary of answer.conversations) {
      const each = conversation({ id: summary.id });
      if (!restarted && summary.lastSeq < before.get(summary.id)) restart(each);
      each.update(summary);
      if (each.peerId) met.add(each.peerId);
      if (summary.lastSeq > each.whole) pull(each);
    }
    const frames = held ?? [];
    held = null;
    for (const [type, data] of frames) received(type, data);
    render();
    markRead();
  } catch (problem) {
    if (problem.status === 401) connection.needsFreshToken = true;
    setTimeout(() => turn === syncTurn && sync(), RETRY_MS);
  }
}

// What the server accepted but no longer knows goes out again.
function restart(each) {
  for (const message of each.restart()) transmit(each, message);
}

// Fetches what is missing behind the last message without a hole before it.
async function pull(each) {
  if (each.pulling) return;
  each.pulling = true;
  const before = each.whole;
  let again = false;
  try {
    const { messages, hasMore } = await history(session, each.id, before);
    for (const data of messages) each.add(data);
    each.wholeUpTo(messages.at(-1)?.seqId ?? before);
    again = (hasMore || each.hasHole) && each.whole > before;
  } catch {
    setTimeout(() => state.phase === "online" && pull(each), RETRY_MS);
  }
  each.pulling = false;
  if (again) pull(each);
  render();
  markRead();
}

function received(type, data) {
  if (type === "message-ack") return settled(data.client_msg_id, { state: "accepted" });
  if (type === "error") {
    if (data.client_msg_id) {
      const error = data.code === "MESSAGE_TOO_LARGE" ? "Too long to be sent." : `Not sent: ${data.message}`;
      settled(data.client_msg_id, { state: "failed", error, canRetry: TEMPORARY.includes(data.code) });
    }
    return;
  }
  if (held) {
    if (held.length < MAX_HELD) held.push([type, data]);
    return;
  }
  switch (type) {
    case "new-message": {
      const each = conversations.get(data.conversationId);
      if (!each) return void sync();
      each.add(data);
      if (each.hasHole) pull(each);
      meet(data.sender.id);
      markRead();
      break;
    }
    case "message.read": {
      const each = conversations.get(data.conversationId);
      if (!each) return;
      const mark = data.userId === session.userId ? "readSeq" : "readByOthersSeq";
      each[mark] = Math.max(each[mark], data.seqId);
      break;
    }
    case "user.online":
    case "user.offline": {
      meet(data.userId);
      for (const each of conversations.values()) if (each.peerId === data.userId) each.online = type === "user.online";
    }
  }
  render();
}

// Writing

function send(content) {
  const each = conversations.get(openId);
  each.draft = "";
  transmit(each, each.write(content));
  render();
}

// Nothing is lost if there is no connection: what is still "sending" goes out with the next one.
function transmit(each, { content, clientMsgId }) {
  connection.send("send-message", { conversationId: each.id, content, messageType: 1, client_msg_id: clientMsgId });
}

function resend(each) {
  for (const message of each.messages.values()) if (message.state === "sending") transmit(each, message);
}

function settled(clientMsgId, outcome) {
  for (const each of conversations.values()) {
    const message = each.messages.get(`own ${clientMsgId}`);
    // A message that has its place in the conversation is beyond both acknowledgement and failure.
    if (message && !message.seqId) Object.assign(message, outcome);
  }
  render();
}

function retry(message) {
  message.state = "sending";
  transmit(conversations.get(openId), message);
  render();
}

function discard(message) {
  conversations.get(openId).messages.delete(message.key);
  render();
}

// Reading

function open(id) {
  openId = id;
  view.open(conversations.get(id));
  render();
  markRead();
}

// What is looked at counts as read here at once; the server is told of what arrived together together.
function markRead() {
  const each = conversations.get(openId);
  if (!each || !view.showsMessages) return;
  each.see();
  render();
  looked.add(each);
  markTimer ??= setTimeout(() => {
    markTimer = null;
    for (const seen of looked) {
      const seqId = seen.toMarkRead;
      if (seqId && connection.send("mark-read", { conversationId: seen.id, seqId })) seen.sentReadSeq = seqId;
    }
    looked.clear();
  }, MARK_MS);
}

let renderPending = false;

function render() {
  if (renderPending) return;
  renderPending = true;
  queueMicrotask(() => {
    renderPending = false;
    const others = [...conversations.values()].filter(({ kind }) => kind === "direct");
    const known = state.phase === "online" && others.every(({ online }) => online !== null);
    const people = { all: others.length + 1, online: known ? others.filter(({ online }) => online).length + 1 : null };
    view.showConversations(conversations, openId);
    view.showConversation(conversations.get(openId), people);
  });
}

document.addEventListener("visibilitychange", markRead);
setInterval(() => state.phase === "waiting" && showState(), 250);

if (session.name) begin();
else view.showLogin();
