// What the back end's HTTP API tells, in this page's terms. 64-bit numbers are text there, and what is 0 may be left out.

export const LOBBY = "world";
const PULLED = 100;

const number = (text) => Number(text ?? 0);

// The id of the conversation of two users: it exists as soon as one of them writes there.
const directId = (...userIds) => `dm:${userIds.sort().join(":")}`;

const pathOf = (id) => `api/conversations/${encodeURIComponent(id)}`;

// Where everything stands: the conversations there are, and one with everybody else, whether it has begun or not.
export async function standing(session) {
  const [listed, marks, people, online] = await Promise.all([
    session.all("api/conversations", "conversations", { include_last_message: true }),
    session.get("api/conversations:readMarks").then((answer) => answer.marks ?? []),
    session.all(`${pathOf(LOBBY)}/members`, "members"),
    session.get(`${pathOf(LOBBY)}/online`).then((answer) => answer.userIds ?? []),
  ]);
  const known = new Map(listed.map((each) => [each.id, each]));
  const read = new Map(marks.map((mark) => [mark.conversationId, mark]));
  const summary = (id) => ({
    id,
    lastSeq: number(known.get(id)?.lastMessage?.seqId),
    readSeq: number(read.get(id)?.readSeqId),
    readByOthersSeq: number(read.get(id)?.readByOthersSeqId),
  });
  const groups = listed
    .filter(({ type }) => type !== "CONVERSATION_TYPE_SINGLE")
    .map(({ id, name }) => ({ ...summary(id), kind: "group", title: name }));
  const directs = people
    .map(({ user }) => user)
    .filter(({ id }) => id !== session.userId)
    .map(({ id, username }) => ({
      ...summary(directId(session.userId, id)),
      kind: "direct",
      title: username,
      peerId: id,
      online: online.includes(id),
    }));
  // The lobby is as old as the back end's memory: another lobby, another memory.
  return { epoch: known.get(LOBBY)?.createdAt, conversations: [...groups, ...directs] };
}

// The messages behind a place, as `new-message` frames carry them; not necessarily all of them.
export async function history(session, id, after) {
  const query = { start_seq_id: after + 1, ascending: true, limit: PULLED };
  const { messages = [], hasMore = false } = await session.get(`${pathOf(id)}/messages`, query);
  const frames = messages.map((message) => ({
    id: message.id,
    conversationId: id,
    sender: { id: message.sender.id, username: message.sender.username },
    content: message.content ?? "",
    seqId: number(message.seqId),
    createdAt: number(message.createdAt),
    client_msg_id: message.clientMsgId,
  }));
  return { messages: frames, hasMore };
}
