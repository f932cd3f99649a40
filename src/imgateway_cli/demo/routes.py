"""The demo back end over HTTP: login, the list of conversations, and messages for a page that found a hole."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import attrs
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from imgateway.adapters.starlette.problems import problem
from imgateway.codes import Code
from imgateway.model import ConversationId, Credentials, Identity, Refusal, UserId
from imgateway.ports import Authenticator
from imgateway_cli.demo.backend import DemoBackEnd
from imgateway_cli.demo.conversations import LOBBY, ChatMessage, direct_id
from imgateway_cli.demo.people import named

MAX_BODY_BYTES: Final = 4096
_MAX_SEQ_DIGITS: Final = 15


@attrs.frozen
class IssuedToken:
    """A token for one user and when it ends."""

    token: str = attrs.field(repr=False)
    expires_at: int


@attrs.frozen
class DemoRoutes:
    """The back end's HTTP side.

    Attributes:
        back_end: what it shows.
        authenticator: proves who asks; the gateway's own, so that one token opens both doors.
        issue: makes a token for a user who logs in.
        max_content_bytes: the gateway's limit, which the page shows while one types.
        epoch: differs at each start, so that a page knows that everything it saw is gone.
    """

    back_end: DemoBackEnd
    authenticator: Authenticator
    issue: Callable[[UserId], IssuedToken]
    max_content_bytes: int
    epoch: str

    def routes(self) -> Sequence[Route]:
        """What to mount at the root."""
        return [
            Route("/demo/login", self._login, methods=["POST"]),
            Route("/demo/conversations", self._authenticated(self._conversations), methods=["GET"]),
            Route("/demo/conversations/{id:path}/messages", self._authenticated(self._messages), methods=["GET"]),
        ]

    async def _login(self, request: Request) -> Response:
        body = bytearray()
        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    return _refuse(Code.MESSAGE_TOO_LARGE, f"A login has at most {MAX_BODY_BYTES} bytes.")
        try:
            login = json.loads(body)
        except (ValueError, RecursionError):
            return _refuse(Code.INVALID_MESSAGE, "The body is not JSON.")
        person = named(login.get("name") if isinstance(login, dict) else None)
        if isinstance(person, str):
            return _refuse(Code.INVALID_MESSAGE, person)
        self.back_end.conversations.meet(person)
        issued = self.issue(person.user_id)
        return _answer(
            {"userId": person.user_id, "name": person.name, "token": issued.token, "expiresAt": issued.expires_at}
        )

    async def _conversations(self, _request: Request, user_id: UserId) -> Response:
        listed = [self._summary(LOBBY, user_id) | {"kind": "group", "title": "Lobby"}]
        for person in reversed(self.back_end.conversations.people):
            direct = direct_id(user_id, person.user_id)
            if self.back_end.conversations.may_enter(user_id, direct):
                online = await self.back_end.is_online(person.user_id)
                shown = {"kind": "direct", "title": person.name, "peerId": person.user_id, "online": online}
                listed.append(self._summary(direct, user_id) | shown)
        return _answer({"epoch": self.epoch, "maxContentBytes": self.max_content_bytes, "conversations": listed})

    def _summary(self, conversation_id: ConversationId, user_id: UserId) -> dict[str, Any]:
        conversation = self.back_end.conversations.look(conversation_id)
        return {
            "id": conversation_id,
            "lastSeq": conversation.last_seq,
            "readSeq": conversation.read.get(user_id, 0),
            "readByOthersSeq": conversation.read_by_others(user_id),
        }

    async def _messages(self, request: Request, user_id: UserId) -> Response:
        conversation_id = ConversationId(request.path_params["id"])
        if not self.back_end.conversations.may_enter(user_id, conversation_id):
            return _refuse(Code.FORBIDDEN, "You are no member of this conversation.")
        after = request.query_params.get("after", "0")
        if not after.isascii() or not after.isdigit() or len(after) > _MAX_SEQ_DIGITS:
            return _refuse(Code.INVALID_MESSAGE, "after is a seqId: a whole number from 0 up.")
        conversation = self.back_end.conversations.look(conversation_id)
        messages = [_as_frame_data(message) for message in conversation.after(int(after))]
        return _answer({"messages": messages, "lastSeq": conversation.last_seq})

    def _authenticated(
        self, handler: Callable[[Request, UserId], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def authenticated(request: Request) -> Response:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer":
                return _refuse(Code.UNAUTHENTICATED, "A bearer token is needed.")
            identity = await self.authenticator.authenticate(Credentials(token=token.strip()))
            match identity:
                case Identity() if identity.expires_at > self.back_end.clock.now():
                    return await handler(request, identity.user_id)
                case Identity():
                    return _refuse(Code.TOKEN_EXPIRED, "The token has expired.")
                case Refusal():
                    return problem(identity)

        return authenticated


def _as_frame_data(message: ChatMessage) -> dict[str, Any]:
    """A message as `new-message` carries it, so that the page reads both alike."""
    data: dict[str, Any] = {
        "id": str(message.message_id),
        "conversationId": message.conversation_id,
        "sender": {"id": message.sender.user_id, "username": message.sender.name},
        "content": message.content,
        "messageType": message.message_type,
        "seqId": message.seq_id,
        "createdAt": message.created_at,
        "client_msg_id": message.client_msg_id,
    }
    return data if message.extra is None else data | {"extra": message.extra}


def _answer(content: Mapping[str, Any]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def _refuse(code: Code, why: str) -> Response:
    return problem(Refusal(code, why))
