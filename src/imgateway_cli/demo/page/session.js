// Who this tab is: remembered for the tab alone, so that two tabs are two users. And the back end's HTTP side.

const KEY = "imgateway.demo";
const SPARE_MS = 10_000; // a token that ends sooner is not worth a connection

export class Problem extends Error {
  // `final`: the same request will not fare better later.
  constructor(message, { status = 0, final = false } = {}) {
    super(message);
    this.status = status;
    this.final = final;
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, signal: AbortSignal.timeout(10_000) });
  } catch {
    throw new Problem("The server can't be reached.");
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const final = response.status >= 400 && response.status < 500 && response.status !== 429;
  throw new Problem(body.detail ?? `The server answered ${response.status}.`, { status: response.status, final });
}

export class Session {
  constructor() {
    this.known = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    this.known.deviceId ??= crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-");
    this.save();
  }

  get name() { return this.known.name; }
  get userId() { return this.known.userId; }
  get deviceId() { return this.known.deviceId; }

  async login(name) {
    const { userId, name: shown, token, expiresAt } = await request("demo/login", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ name }),
    });
    Object.assign(this.known, { userId, name: shown, token, expiresAt });
    this.save();
  }

  leave() {
    sessionStorage.removeItem(KEY);
  }

  async token(fresh = false) {
    if (fresh || !(this.known.expiresAt > Date.now() + SPARE_MS)) await this.login(this.name);
    return { token: this.known.token, expiresAt: this.known.expiresAt };
  }

  async get(path) {
    const { token } = await this.token();
    return request(path, { headers: { Authorization: `Bearer ${token}` } });
  }

  save() {
    sessionStorage.setItem(KEY, JSON.stringify(this.known));
  }
}
