// The WebSocket to the gateway: opens it, keeps the token fresh, and comes back after every ending that allows it.

const OPENING_MS = 10_000; // from the attempt to `welcome`
const ACK_MS = 15_000; // an open socket that acknowledges nothing for so long is taken for dead
const STABLE_MS = 5_000; // a connection that lived so long resets the backoff
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const MAX_TOKEN_REFUSALS = 2; // in a row, each with a token just made

const TOKEN_EXPIRED = 4001;
const UNAUTHENTICATED = 4501;
const REASONS = {
  1009: "A message was too large.",
  4503: "The gateway does not allow this page.",
  4504: "The gateway did not understand this page.",
  4509: "This chat was opened somewhere else.",
  4510: "You were disconnected by an operator.",
};

const mayReconnect = (code) => (code >= 4000 && code <= 4499) || [1001, 1006, 1012, 1013].includes(code);

// Full jitter: anywhere between nothing and the cap, so that many clients of a lost gateway don't come back at once.
const backoff = (attempt) => Math.random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** attempt);

export class Connection {
  // `session` has `token(fresh)`, which resolves to {token, expiresAt} or rejects with {final, message};
  // `on` has `state({phase, retryAt, reason})`, `welcome()`, `frame(type, data)`.
  constructor({ session, deviceId, on }) {
    this.session = session;
    this.deviceId = deviceId;
    this.on = on;
    this.phase = "offline";
    this.socket = null;
    this.turn = 0; // what belongs to an earlier attempt is ignored
    this.attempt = 0;
    this.tokenRefusals = 0;
    this.needsFreshToken = false;
    this.notBefore = 0;
    this.unacked = 0; // messages of this connection that wait for their answer
    this.timers = {};
    addEventListener("online", () => this.phase === "waiting" && this.start());
    addEventListener("offline", () => this.phase === "online" && this.lost(1006));
  }

  async start() {
    this.drop();
    const turn = ++this.turn;
    this.enter("connecting");
    let token;
    try {
      ({ token } = await this.session.token(this.needsFreshToken));
    } catch (problem) {
      if (turn === this.turn) problem.final ? this.end(problem.message) : this.wait();
      return;
    }
    if (turn !== this.turn) return;
    this.needsFreshToken = false;
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = new URLSearchParams({ errors: "frame", device_id: this.deviceId, platform: "web" });
    const socket = new WebSocket(url, ["imgateway.json.v1", `bearer.${token}`]);
    this.socket = socket;
    this.timer("opening", OPENING_MS, () => this.lost(1006));
    socket.onmessage = (event) => this.receive(JSON.parse(event.data));
    socket.onclose = (event) => this.lost(event.code);
  }

  stop() {
    ++this.turn;
    this.drop();
    this.phase = "offline";
  }

  // True if it was handed to an open connection; whether it arrived only an acknowledgement tells.
  send(type, data) {
    if (this.phase !== "online") return false;
    this.socket.send(JSON.stringify({ type, data, timestamp: Date.now() }));
    if (type === "send-message" && this.unacked++ === 0) this.expectAnswer();
    return true;
  }

  receive({ type, data }) {
    if (type === "message-ack" || (type === "error" && data.client_msg_id)) this.unacked--;
    this.expectAnswer();
    switch (type) {
      case "welcome":
        this.tokenRefusals = 0;
        clearTimeout(this.timers.opening);
        this.timer("stable", STABLE_MS, () => (this.attempt = 0));
        this.refreshBefore(data.tokenExpiresAt);
        this.enter("online");
        this.on.welcome(data);
        break;
      case "reconnect":
        this.notBefore = Date.now() + data.afterMs;
        break;
      case "token-refreshed":
        this.refreshBefore(data.tokenExpiresAt);
        break;
      case "pong":
        break;
      case "error":
        if (data.retryAfter && !data.client_msg_id) this.notBefore = Date.now() + data.retryAfter * 1000;
        this.on.frame(type, data);
        break;
      default:
        this.on.frame(type, data);
    }
  }

  // Anything that arrives proves the connection alive; only while an answer is due does silence prove it dead.
  expectAnswer() {
    if (this.unacked > 0) this.timer("ack", ACK_MS, () => this.lost(1006));
    else this.timers.ack = clearTimeout(this.timers.ack);
  }

  lost(code) {
    this.drop();
    if (code === TOKEN_EXPIRED || code === UNAUTHENTICATED) {
      this.needsFreshToken = true;
      if (++this.tokenRefusals > MAX_TOKEN_REFUSALS) this.end("The gateway does not accept your sign-in.");
      else this.wait();
    } else if (mayReconnect(code)) this.wait();
    else this.end(REASONS[code] ?? `The gateway closed the connection (${code}).`);
  }

  wait() {
    const asked = this.notBefore - Date.now();
    const delay = asked > 0 ? asked : backoff(this.attempt++);
    this.notBefore = 0;
    this.timer("retry", delay, () => this.start());
    this.enter("waiting", { retryAt: Date.now() + delay });
  }

  end(reason) {
    ++this.turn;
    this.enter("offline", { reason });
  }

  enter(phase, details = {}) {
    this.phase = phase;
    this.on.state({ phase, ...details });
  }

  // A new token before four fifths of the old one's remaining life are over. Where that fails, the gateway closes
  // with TOKEN_EXPIRED in the end, and the next connection starts with a new one.
  refreshBefore(expiresAt) {
    const left = Math.max(0, expiresAt - Date.now());
    this.timer("refresh", Math.min(left * 0.8, 2 ** 31 - 1), async () => {
      const turn = this.turn;
      try {
        const { token } = await this.session.token(true);
        if (turn === this.turn) this.send("refresh-token", { token });
      } catch {
        this.needsFreshToken = true;
      }
    });
  }

  timer(name, ms, action) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(() => {
      this.timers[name] = undefined;
      action();
    }, ms);
  }

  drop() {
    for (const name of Object.keys(this.timers)) this.timers[name] = clearTimeout(this.timers[name]);
    this.unacked = 0;
    if (!this.socket) return;
    this.socket.onmessage = this.socket.onclose = null;
    this.socket.close();
    this.socket = null;
  }
}
