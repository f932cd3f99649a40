"""im_logic's accounts and tokens over gRPC; the gateway's own authenticator judges the tokens."""

import json
from base64 import urlsafe_b64decode

import grpc
import pytest
from google.rpc import error_details_pb2
from tests.e2e.im_logic import SECRET, ImLogic, by, details_of, im_logic, refused, wrong_fields

from imgateway.adapters.jwt import JwtAuthenticator
from imgateway.core.settings import AuthSettings
from imgateway.model import Credentials, Identity, Refusal
from imgateway_im_logic.attempts import BURST, SECONDS_EACH
from imgateway_im_logic.generated.im.logic.v1 import auth_pb2
from imgateway_im_logic.names import folded, guest_id, registered_id, shown_name
from imgateway_im_logic.refusals import RefusedError
from imgateway_im_logic.tokens import ACCESS_SECONDS, REFRESH_SECONDS

pytestmark = pytest.mark.anyio

GATEWAYS_AUTH = AuthSettings(secret=SECRET, issuer="im-logic", required_claims={"type": "access"})


@pytest.fixture
def anyio_backend() -> str:
    """What grpc.aio is bound to."""
    return "asyncio"


async def registered(logic: ImLogic, name: str = "Ann", password: str = "correct horse") -> auth_pb2.LoginResponse:
    await logic.auth.Register(auth_pb2.RegisterRequest(username=name, password=password))
    return await logic.auth.Login(auth_pb2.LoginRequest(username=name, password=password))  # type: ignore[no-any-return]  # a stub


async def seen_by_the_gateway(logic: ImLogic, token: str) -> Identity | Refusal:
    return await JwtAuthenticator.from_settings(GATEWAYS_AUTH, logic.clock).authenticate(Credentials(token=token))


async def test_an_access_token_opens_the_gateway_and_a_refresh_token_does_not() -> None:
    async with im_logic() as logic:
        answer = await registered(logic)
        identity = await seen_by_the_gateway(logic, answer.access_token)
        assert isinstance(identity, Identity)
        assert identity.user_id == answer.user.id == registered_id("ann")
        assert identity.expires_at == answer.expires_in * 1000 == logic.clock.now() + ACCESS_SECONDS * 1000
        assert isinstance(await seen_by_the_gateway(logic, answer.refresh_token), Refusal)
        claims = json.loads(urlsafe_b64decode(answer.access_token.split(".")[1] + "=="))
        assert set(claims) == {"iss", "sub", "user_id", "type", "jti", "sid", "iat", "exp"}
        assert (claims["iss"], claims["type"], claims["user_id"]) == ("im-logic", "access", claims["sub"])


async def test_a_name_is_one_persons_whatever_its_case() -> None:
    async with im_logic() as logic:
        first = await registered(logic, "Ann  Lee")
        assert first.user.username == "Ann Lee"
        again = await refused(logic.auth.Register(auth_pb2.RegisterRequest(username="ann lee", password="x" * 8)))
        assert again.code() is grpc.StatusCode.ALREADY_EXISTS
        other_case = await logic.auth.Login(auth_pb2.LoginRequest(username="ANN LEE", password="correct horse"))
        assert other_case.user == first.user


async def test_a_wrong_password_and_an_unknown_name_look_the_same() -> None:
    async with im_logic() as logic:
        await registered(logic)
        wrong = await refused(logic.auth.Login(auth_pb2.LoginRequest(username="Ann", password="wrong horse")))
        unknown = await refused(logic.auth.Login(auth_pb2.LoginRequest(username="Bob", password="wrong horse")))
        assert (wrong.code(), wrong.details()) == (unknown.code(), unknown.details())
        assert wrong.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_password_is_not_guessed_in_a_row() -> None:
    async with im_logic() as logic:
        await registered(logic)
        wrong = auth_pb2.LoginRequest(username="Ann", password="wrong horse")
        right = auth_pb2.LoginRequest(username="Ann", password="correct horse")
        for _ in range(BURST):
            assert (await refused(logic.auth.Login(wrong))).code() is grpc.StatusCode.UNAUTHENTICATED
        too_many = await refused(logic.auth.Login(right))
        assert too_many.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert details_of(too_many, error_details_pb2.RetryInfo).retry_delay.seconds == SECONDS_EACH
        await logic.auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info={"device_id": "another person's"}))
        logic.clock.advance(SECONDS_EACH)
        assert (await logic.auth.Login(right)).user.username == "Ann"
        for _ in range(BURST):
            assert (await refused(logic.auth.Login(wrong))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_what_is_no_name_or_password_is_named() -> None:
    async with im_logic() as logic:
        for name in ("", "   ", "a:b", "a\uff1ab", "x" * 33, "a\x00b", "\u202egnp.exe"):
            wrong = await refused(logic.auth.Register(auth_pb2.RegisterRequest(username=name, password="x" * 8)))
            assert wrong_fields(wrong) == {"username"}
        for password in ("", "x" * 7, "x" * 129):
            wrong = await refused(logic.auth.Register(auth_pb2.RegisterRequest(username="Ann", password=password)))
            assert wrong_fields(wrong) == {"password"}
        for url in ("javascript:alert(1)", "https://" + "x" * 500):
            request = auth_pb2.RegisterRequest(username="Ann", password="x" * 8, avatar_url=url)
            assert wrong_fields(await refused(logic.auth.Register(request))) == {"avatar_url"}


async def test_a_guest_is_who_has_the_device() -> None:
    async with im_logic() as logic:
        device = "a random device"
        short = await refused(logic.auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info={"device_id": device})))
        assert wrong_fields(short) == {"client_info.device_id"}
        info = {"device_id": device + "!", "nickname": "小明"}
        first = await logic.auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info=info))
        assert (first.user.username, first.user.is_guest, first.user.id) == ("小明", True, guest_id(device + "!"))
        second = await logic.auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info={"device_id": device + "!"}))
        assert (second.user.id, second.user.username) == (first.user.id, "小明")
        other = await logic.auth.GuestLogin(auth_pb2.GuestLoginRequest(client_info={**info, "device_id": "d" * 16}))
        assert (other.user.username, other.user.id == first.user.id) == ("小明", False)
        assert isinstance(await seen_by_the_gateway(logic, second.access_token), Identity)


async def test_a_refresh_token_works_once_and_its_theft_ends_the_session() -> None:
    async with im_logic() as logic:
        first = await registered(logic)
        second = await logic.auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=first.refresh_token))
        assert isinstance(await seen_by_the_gateway(logic, second.access_token), Identity)
        stolen = await refused(logic.auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=first.refresh_token)))
        assert stolen.code() is grpc.StatusCode.UNAUTHENTICATED
        ended = await refused(logic.auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=second.refresh_token)))
        assert ended.code() is grpc.StatusCode.UNAUTHENTICATED
        valid = await logic.auth.ValidateToken(auth_pb2.ValidateTokenRequest(access_token=second.access_token))
        assert not valid.valid


async def test_tokens_expire_and_only_refresh_tokens_refresh() -> None:
    async with im_logic() as logic:
        first = await registered(logic)
        valid = await logic.auth.ValidateToken(auth_pb2.ValidateTokenRequest(access_token=first.access_token))
        assert (valid.valid, valid.user, valid.expires_at) == (True, first.user, first.expires_in)
        for no_refresh_token in (first.access_token, "", "x", first.refresh_token[:-2]):
            request = auth_pb2.RefreshTokenRequest(refresh_token=no_refresh_token)
            assert (await refused(logic.auth.RefreshToken(request))).code() is grpc.StatusCode.UNAUTHENTICATED
        logic.clock.advance(ACCESS_SECONDS)
        expired = auth_pb2.ValidateTokenRequest(access_token=first.access_token)
        assert await logic.auth.ValidateToken(expired) == auth_pb2.ValidateTokenResponse(valid=False)
        logic.clock.advance(REFRESH_SECONDS - ACCESS_SECONDS)
        late = await refused(logic.auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=first.refresh_token)))
        assert late.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_logout_ends_the_callers_session_only() -> None:
    async with im_logic() as logic:
        ann, bob = await registered(logic), await registered(logic, "Bob")
        for user, token in ((bob.user.id, ann.access_token), (ann.user.id, "nonsense")):
            request = auth_pb2.LogoutRequest(user_id=user, access_token=token)
            assert (await logic.auth.Logout(request, metadata=by(user))).success
        second = await logic.auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=ann.refresh_token))
        request = auth_pb2.LogoutRequest(user_id=ann.user.id, access_token=second.access_token)
        assert (await logic.auth.Logout(request, metadata=by(ann.user.id))).success
        gone = await refused(logic.auth.RefreshToken(auth_pb2.RefreshTokenRequest(refresh_token=second.refresh_token)))
        assert gone.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_only_the_verified_user_is_served() -> None:
    async with im_logic() as logic:
        ann = await registered(logic)
        request = auth_pb2.LogoutRequest(user_id=ann.user.id, access_token=ann.access_token)
        assert (await refused(logic.auth.Logout(request))).code() is grpc.StatusCode.UNAUTHENTICATED
        other = await refused(logic.auth.Logout(request, metadata=by("bob")))
        assert other.code() is grpc.StatusCode.PERMISSION_DENIED
        twice = await refused(logic.auth.Logout(request, metadata=by(ann.user.id) + by("bob")))
        assert twice.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("name", "shown", "same"),
    [
        ("  Ann   Lee ", "Ann Lee", "ann lee"),
        ("小明", "小明", "小明"),
        ("ZOE\u0308", "ZO\u00cb", "zoë"),
        ("\uff21lice", "\uff21lice", "alice"),
        ("👩‍🚀", "👩‍🚀", "👩‍🚀"),
    ],
)
def test_names_are_normalised(name: str, shown: str, same: str) -> None:
    assert shown_name(name, "username") == shown
    assert registered_id(name) == registered_id(folded(same))


def test_ids_fit_everywhere() -> None:
    assert registered_id("a").isascii()
    assert guest_id("d" * 16) != registered_id("d" * 16)
    with pytest.raises(RefusedError):
        guest_id("d" * 129)
