"""Which pages may connect."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgateway.adapters.starlette.origins import origin_allowed

HOSTS = ("chat.example.com", "localhost", "127.0.0.1", "[::1]", "例子.测试")


def allowed(origin: str | None, host: str | None, *listed: str, secure: bool = False) -> bool:
    return origin_allowed(origin, host, secure=secure, allowed=listed)


@pytest.mark.parametrize("listed", [(), ("https://other.example",), ("*",)])
def test_a_client_without_an_origin_is_no_page_and_may_connect(listed: tuple[str, ...]) -> None:
    assert allowed(None, "chat.example.com", *listed)


@given(st.sampled_from(HOSTS), st.sampled_from(HOSTS), st.sampled_from((None, 80, 443, 8080)), st.booleans())
def test_without_a_list_only_pages_of_the_same_host_and_port_may(
    page: str, host: str, port: int | None, secure: bool
) -> None:
    suffix = "" if port is None else f":{port}"
    scheme = "https" if secure else "http"
    assert allowed(f"{scheme}://{page}{suffix}", f"{host}{suffix}", secure=secure) == (page == host)
    assert not allowed(f"{scheme}://{page}:9999", f"{host}{suffix}", secure=secure)


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("http://h", "h:80", False),
        ("http://h:80", "h", False),
        ("https://h", "h:443", True),
        ("https://h:443", "h", True),
        ("http://H.example", "h.EXAMPLE", False),
        ("https://h", "h", False),  # behind a proxy that ends TLS
        ("https://h:8443", "h:8443", False),
    ],
)
def test_default_ports_and_letter_case_do_not_matter(origin: str, host: str, secure: bool) -> None:
    assert allowed(origin, host, secure=secure)


@pytest.mark.parametrize(
    ("origin", "host", "secure"),
    [
        ("http://h", "h", True),  # a page that anyone on the way could have written
        ("https://h", "h:80", False),
        ("https://h.evil", "h", False),
        ("https://evil", "h", False),
        ("https://h:8443", "h", False),
        ("capacitor://h", "h", False),
    ],
)
def test_another_host_port_or_scheme_is_another_origin(origin: str, host: str, secure: bool) -> None:
    assert not allowed(origin, host, secure=secure)


@pytest.mark.parametrize("listed", [(), ("https://chat.example.com",), ("capacitor://localhost",)])
@pytest.mark.parametrize("origin", ["null", "", "chat.example.com", "//chat.example.com", "https://", "http://["])
@pytest.mark.parametrize("host", ["chat.example.com", "", None, "null", "["])
def test_what_is_no_origin_is_never_allowed(origin: str, host: str | None, listed: tuple[str, ...]) -> None:
    assert not allowed(origin, host, *listed)


def test_a_star_allows_every_page() -> None:
    assert allowed("https://evil.example", "h", "https://h", "*")
    assert allowed("null", "h", "*")


def test_with_a_list_only_its_origins_are_allowed() -> None:
    listed = ("https://chat.example.com", "http://localhost:3000", "capacitor://localhost")
    for origin in (*listed, "https://chat.example.com:443"):
        assert allowed(origin, "gateway.example.com", *listed)
    for origin in (
        "http://chat.example.com",
        "https://gateway.example.com",
        "https://chat.example.com.evil",
        "http://localhost",
        "capacitor://localhost2",
        "ionic://localhost",
    ):
        assert not allowed(origin, "gateway.example.com", *listed)


@given(st.text(), st.text(), st.booleans())
def test_any_header_gets_an_answer(origin: str, host: str, secure: bool) -> None:
    allowed(origin, host, secure=secure)
    allowed(origin, host, "https://h", secure=secure)
