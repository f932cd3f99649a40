"""Who the users are. In memory, bounded, no I/O."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import attrs

from imgateway.model import UserId
from imgateway_im_logic.names import folded, guest_id, registered_id, shown_name
from imgateway_im_logic.passwords import NOBODYS, HashedPassword
from imgateway_im_logic.refusals import conflict

MAX_USERS = 500


@attrs.frozen
class User:
    """A user.

    Attributes:
        username: as others see it; unique among the registered.
        created_at: Unix time in milliseconds, as `updated_at`.
    """

    user_id: UserId
    username: str
    avatar_url: str = ""
    is_guest: bool = False
    created_at: int = 0
    updated_at: int = 0


@attrs.define(eq=False)
class Accounts:
    """Everyone. Where there are too many, who was longest away is forgotten.

    Attributes:
        on_new: called with each user who was not known before.
        on_forgotten: called with the id of each who is forgotten.
    """

    on_new: Callable[[User], None]
    on_forgotten: Callable[[UserId], None]
    _users: OrderedDict[UserId, User] = attrs.field(factory=OrderedDict)
    _passwords: dict[UserId, HashedPassword] = attrs.field(factory=dict)

    @property
    def everyone(self) -> Sequence[User]:
        """All users, the most recent last. A snapshot."""
        return tuple(self._users.values())

    def look(self, user_id: UserId, /) -> User | None:
        """The user of that id."""
        return self._users.get(user_id)

    def shown(self, user_id: UserId, /) -> User:
        """The user of that id; one who is not known is called by the id."""
        return self._users.get(user_id) or User(user_id, user_id)

    def meet(self, user_id: UserId, now: int, /) -> User:
        """The user of that id, which the gateway has verified.

        Tokens outlive this memory: one who is not known yet is called by the id until they sign in again.
        """
        known = self._users.get(user_id)
        if known is None:
            return self._keep(User(user_id, user_id, is_guest=True, created_at=now, updated_at=now))
        self._users.move_to_end(user_id)
        return known

    def is_free(self, username: str, /) -> bool:
        """Whether nobody has registered the name."""
        return registered_id(username) not in self._passwords

    def register(self, username: str, password: HashedPassword, avatar_url: str, now: int, /) -> User:
        """Make an account.

        Raises:
            RefusedError: nobody can be called so, or somebody else is.
        """
        shown = shown_name(username, "username")
        if not self.is_free(shown):
            raise conflict("Somebody else has this name.")
        user_id = registered_id(shown)
        self._passwords[user_id] = password
        return self._keep(User(user_id, shown, avatar_url, created_at=now, updated_at=now))

    def registered(self, username: str, /) -> tuple[User | None, HashedPassword]:
        """Who has the name, and what their password must match."""
        user_id = registered_id(folded(username))
        password = self._passwords.get(user_id)
        return (None, NOBODYS) if password is None else (self._users[user_id], password)

    def guest(self, device_id: str, nickname: str, now: int, /) -> User:
        """The guest of a device, by the name they want now.

        Raises:
            RefusedError: the device's id is no secret, or nobody can be called so.
        """
        user_id = guest_id(device_id)
        known = self._users.get(user_id)
        fallback = known.username if known else f"Guest {user_id[-4:]}"
        shown = shown_name(nickname, "client_info.nickname") if nickname else fallback
        if known is None:
            return self._keep(User(user_id, shown, is_guest=True, created_at=now, updated_at=now))
        changed = known if known.username == shown else attrs.evolve(known, username=shown, updated_at=now)
        return self._keep(changed)

    def _keep(self, user: User) -> User:
        new = user.user_id not in self._users
        self._users[user.user_id] = user
        self._users.move_to_end(user.user_id)
        if len(self._users) > MAX_USERS:
            forgotten, _ = self._users.popitem(last=False)
            self._passwords.pop(forgotten, None)
            self.on_forgotten(forgotten)
        if new:
            self.on_new(user)
        return user
