// Who this tab is: remembered for the tab alone, so that two tabs are two users. And its calls to the HTTP API.

const KEY = "imgateway.demo";
const SPARE_MS = 10_000; // a token that ends sooner is not worth a connection
const PAGE_SIZE = 100;

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

const post = (path, body, headers = {}) =>
  request(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
    keepalive: true,
  });

const random = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint32Array(4))).join("-");

export class Session {
  constructor() {
    this.known = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
    this.known.deviceId ??= random();
    this.known.guestKey ??= random(); // all that proves a guest, so nobody else is told
    this.save();
  }

  get name() { return this.known.name; }
  get userId() { return this.known.userId; }
  get deviceId() { return this.known.deviceId; }

  // With a password the name is the user's: it is registered unless it is already. Without one they are a guest, and in
  // this tab the same one whenever they use the same name.
  async login(name, password = "") {
    const clientInfo = { deviceId: `${this.known.guestKey} ${name.trim().toLowerCase()}`, platform: "web" };
    if (!password) {
      this.keep(await post("api/auth/guest", { clientInfo: { ...clientInfo, nickname: name } }), true);
      return;
    }
    const credentials = { username: name, password };
    try {
      this.keep(await post("api/auth/login", { ...credentials, clientInfo }), false);
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      await post("api/auth/register", credentials).catch((refused) => {
        throw refused.status === 409 ? new Problem("Somebody else has this name, or the password is wrong.") : refused;
      });
      this.keep(await post("api/auth/login", { ...credentials, clientInfo }), false);
    }
  }

  leave() {
    const { accessToken, deviceId, guestKey } = this.known;
    post("api/auth/logout", { accessToken }, { Authorization: `Bearer ${accessToken}` }).catch(() => {});
    this.known = { deviceId, guestKey };
    this.save();
  }

  async token(fresh = false) {
    if (fresh || !(this.known.expiresAt > Date.now() + SPARE_MS)) {
      this.renewing ??= this.renew().finally(() => (this.renewing = null));
      await this.renewing;
    }
    return { token: this.known.accessToken, expiresAt: this.known.expiresAt };
  }

  async renew() {
    try {
      this.keep(await post("api/auth/refresh", { refreshToken: this.known.refreshToken }), this.known.isGuest);
    } catch (problem) {
      if (problem.status !== 401) throw problem;
      if (!this.known.isGuest) {
        throw new Problem("Your session has ended. Leave the chat and sign in again.", { status: 401, final: true });
      }
      await this.login(this.name);
    }
  }

  async get(path, query = {}) {
    const { token } = await this.token();
    const search = Object.keys(query).length ? `?${new URLSearchParams(query)}` : "";
    return request(path + search, { headers: { Authorization: `Bearer ${token}` } });
  }

  // All pages of a list.
  async all(path, member, query = {}) {
    const found = [];
    for (let page = 1; ; page++) {
      const answer = await this.get(path, { ...query, page, page_size: PAGE_SIZE });
      found.push(...(answer[member] ?? []));
      if (!answer.hasMore) return found;
    }
  }

  keep({ accessToken, refreshToken, expiresIn, user }, isGuest) {
    Object.assign(this.known, { accessToken, refreshToken, expiresAt: Number(expiresIn) * 1000, isGuest });
    if (user) Object.assign(this.known, { userId: user.id, name: user.username });
    this.save();
  }

  save() {
    sessionStorage.setItem(KEY, JSON.stringify(this.known));
  }
}
