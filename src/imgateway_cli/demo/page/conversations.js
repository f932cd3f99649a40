// What this tab knows of every conversation. No network, no page: only what follows from what arrived.

const KEPT = 500; // messages per conversation

export class Conversation {
  constructor(id, userId) {
    this.id = id;
    this.userId = userId;
    this.messages = new Map(); // by key, in the order of the page
    this.draft = "";
    this.forget();
  }

  // The server starts anew: what it called 1, 2, 3 is now something else.
  forget() {
    this.seqs = new Set();
    this.whole = 0; // up to here nothing is missing
    this.readSeq = 0;
    this.readByOthersSeq = 0;
    this.sentReadSeq = 0;
  }

  update({ kind, title, peerId, online, readSeq, readByOthersSeq }) {
    Object.assign(this, { kind, title, peerId, online });
    this.readSeq = Math.max(this.readSeq, readSeq);
    this.sentReadSeq = readSeq;
    this.readByOthersSeq = Math.max(this.readByOthersSeq, readByOthersSeq);
  }

  get last() { return [...this.messages.values()].at(-1); }

  get unread() {
    let count = 0;
    for (const message of this.messages.values()) {
      if (!message.own && (message.past ? message.unseen : message.seqId > this.readSeq)) count++;
    }
    return count;
  }

  // Everything here was looked at.
  see() {
    this.readSeq = Math.max(this.readSeq, this.toMarkRead);
    for (const message of this.messages.values()) if (message.past) message.unseen = false;
  }

  // What to tell the server as read: the newest message of someone else that it does not know as read yet, or 0.
  get toMarkRead() {
    let newest = this.sentReadSeq;
    for (const message of this.messages.values()) {
      if (!message.own && !message.past && message.seqId > newest) newest = message.seqId;
    }
    return newest > this.sentReadSeq ? newest : 0;
  }

  // A message being written. It keeps its key, so that its place on the page stays the same element.
  write(content) {
    const clientMsgId = `${Date.now().toString(36)}-${crypto.getRandomValues(new Uint32Array(3)).join("-")}`;
    const message = { key: `own ${clientMsgId}`, clientMsgId, own: true, content, at: Date.now(), state: "sending" };
    this.messages.set(message.key, message);
    return message;
  }

  // A message as the gateway or the history tells it. By its key a repeat finds its first self.
  add(data) {
    const own = data.sender.id === this.userId;
    const key = own && data.client_msg_id ? `own ${data.client_msg_id}` : `id ${data.id}`;
    const message = this.messages.get(key) ?? { key, own, clientMsgId: data.client_msg_id };
    if (message.past) return;
    Object.assign(message, {
      id: data.id,
      seqId: data.seqId,
      sender: { id: data.sender.id, name: data.sender.username ?? data.sender.id },
      content: data.content,
      at: data.createdAt,
      state: "accepted",
    });
    this.messages.set(key, message);
    this.note(data.seqId);
    this.sort();
  }

  note(seqId) {
    if (seqId > this.whole) this.seqs.add(seqId);
    while (this.seqs.delete(this.whole + 1)) this.whole++;
  }

  get hasHole() { return this.seqs.size > 0; }

  // The history answered: everything up to here that still exists is now known.
  wholeUpTo(seqId) {
    this.whole = Math.max(this.whole, seqId);
    for (const seq of this.seqs) if (seq <= this.whole) this.seqs.delete(seq);
    while (this.seqs.delete(this.whole + 1)) this.whole++;
  }

  // The server's memory is gone. What stands here stays readable; returned is what it accepted but never told.
  restart() {
    const lost = [];
    for (const message of this.messages.values()) {
      if (message.seqId) {
        message.wasRead ??= message.seqId <= this.readByOthersSeq;
        message.unseen ??= message.seqId > this.readSeq;
        message.past = true;
      } else if (message.state === "accepted") {
        message.state = "sending";
        lost.push(message);
      }
    }
    this.forget();
    return lost;
  }

  stateOf(message) {
    if (message.past) return message.wasRead ? "read" : "accepted";
    return message.seqId && message.seqId <= this.readByOthersSeq ? "read" : message.state;
  }

  sort() {
    const rank = (message) => (message.past ? 0 : message.seqId ? 1 : 2);
    const sorted = [...this.messages.values()].sort((a, b) => {
      const by = rank(a) - rank(b);
      return by || (rank(a) === 1 ? a.seqId - b.seqId : 0);
    });
    this.messages = new Map(sorted.slice(-KEPT).map((message) => [message.key, message]));
  }
}
