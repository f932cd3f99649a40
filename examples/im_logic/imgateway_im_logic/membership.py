"""Who may change a conversation, and what follows from it."""

from collections.abc import Collection, Iterable

import attrs

from imgateway.model import UserId
from imgateway_im_logic.accounts import Accounts
from imgateway_im_logic.conversations import MAX_MEMBERS, Conversation, Kind, Role
from imgateway_im_logic.refusals import forbidden, impossible, invalid, missing


@attrs.frozen
class Failed:
    """A user with whom nothing could be done."""

    user_id: UserId
    reason: str
    error_code: str


@attrs.frozen
class Outcome:
    """What became of several users."""

    done: Collection[UserId]
    failed: Collection[Failed]


def demand(conversation: Conversation, user_id: UserId, least: Role, /) -> Role:
    """The member's role, which is at least that one.

    Raises:
        RefusedError: it is not, or nobody has roles there.
    """
    if conversation.kind is not Kind.GROUP:
        raise impossible("Only groups can be changed.")
    role = conversation.members[user_id].role
    if role < least:
        raise forbidden(f"This takes the role {least.name}.")
    return role


def add(
    conversation: Conversation,
    operator: UserId,
    user_ids: Iterable[UserId],
    role: Role,
    accounts: Accounts,
    now: int,
    /,
) -> Outcome:
    """Add members.

    Raises:
        RefusedError: the operator may not.
    """
    own = demand(conversation, operator, Role.ADMIN)
    if role is Role.OWNER:
        raise invalid(role="There is one owner.")
    if role >= own:
        raise forbidden("Only the owner adds admins.")
    done, failed = [], []
    for user_id in dict.fromkeys(user_ids):
        if accounts.look(user_id) is None:
            failed.append(Failed(user_id, "There is no such user.", "NOT_FOUND"))
        elif user_id in conversation.members:
            failed.append(Failed(user_id, "The user is a member already.", "ALREADY_MEMBER"))
        elif len(conversation.members) >= MAX_MEMBERS:
            failed.append(Failed(user_id, f"A group has at most {MAX_MEMBERS} members.", "CONVERSATION_FULL"))
        else:
            conversation.join(user_id, role, now)
            done.append(user_id)
    conversation.updated_at = now
    return Outcome(done, failed)


def remove(conversation: Conversation, operator: UserId, user_ids: Iterable[UserId], now: int, /) -> Outcome:
    """Remove members whose roles are lower than the operator's.

    Raises:
        RefusedError: the operator may not.
    """
    own = demand(conversation, operator, Role.ADMIN)
    done, failed = [], []
    for user_id in dict.fromkeys(user_ids):
        member = conversation.members.get(user_id)
        if member is None:
            failed.append(Failed(user_id, "The user is no member.", "NOT_MEMBER"))
        elif member.role >= own:
            failed.append(Failed(user_id, "The user's role is not lower than yours.", "FORBIDDEN"))
        else:
            del conversation.members[user_id]
            done.append(user_id)
    conversation.updated_at = now
    return Outcome(done, failed)


def give_role(conversation: Conversation, operator: UserId, target: UserId, role: Role, now: int, /) -> None:
    """Give a member another role; an owner who makes somebody else the owner becomes an admin.

    Raises:
        RefusedError: the operator may not, or the target is no member.
    """
    demand(conversation, operator, Role.OWNER)
    if target not in conversation.members:
        raise missing("The user is no member of this conversation.")
    if target == operator:
        raise impossible("An owner stays the owner until somebody else is.")
    conversation.members[target].role = role
    if role is Role.OWNER:
        conversation.members[operator].role = Role.ADMIN
    conversation.updated_at = now


def leave(conversation: Conversation, user_id: UserId, now: int, /) -> None:
    """Take a member out.

    Raises:
        RefusedError: they are one of two, or own what others are left in.
    """
    if conversation.kind is Kind.SINGLE:
        raise impossible("Nobody leaves a conversation of two.")
    if conversation.members[user_id].role is Role.OWNER and len(conversation.members) > 1:
        raise impossible("Make somebody else the owner first.")
    del conversation.members[user_id]
    conversation.updated_at = now
