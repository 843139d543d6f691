"""A link is followed only if it has the plain form and leads to a known host."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from truecaller_async.errors import ConfigError, DecodeError, TruecallerError
from truecaller_async.models import Secret
from truecaller_async.protocol.links import Host, check_hosts, check_link

BASE = "https://enterprise-portal-noneu.truecaller.com"
GOOD = "https://files.truecaller.com/log.csv?X-Amz-Signature=ab%2Fcd&x=~1"


def check(link: str, hosts: Collection[str] = (), base: str = BASE) -> Host:
    return check_link(Secret(link), base, hosts)


@pytest.mark.parametrize(
    "link",
    [
        GOOD,
        "https://enterprise-portal-noneu.truecaller.com/files/1",
        "HTTPS://Files.TrueCaller.com/1",
        "https://a.b.truecaller.com:443/1",
        "https://files.truecaller.com",
        "https://files.truecaller.com?a=b",
        "https://files.truecaller.com/@x/a:b",
    ],
)
def test_api_s_host_and_hosts_below_truecaller_are_followed(link: str) -> None:
    host = check(link)
    assert host == Host(host.name.lower(), 443)
    assert host.name.endswith(".truecaller.com")


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example/x",
        "https://eviltruecaller.com/x",
        "https://truecaller.com.evil.example/x",
        "https://files.truecaller.com:8443/x",
        "https://files.truecaller.com:80/x",
        "https://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/x",
        "http://127.0.0.1:8080/x",
        "http://localhost/x",
        "https://[::1]/x",
        "https://2130706433/x",
        "https://truecaller.com/x",
    ],
)
def test_host_not_allowed_is_named_with_the_option_to_allow_it(link: str) -> None:
    with pytest.raises(ConfigError, match="allow it with hosts=") as caught:
        check(link)
    assert str(check(link, [str(caught.value).rpartition("hosts=['")[2].removesuffix("']")])) in str(caught.value)


@pytest.mark.parametrize(
    "link",
    [
        "http://files.truecaller.com/x",
        "http://evil.example/x",
        "ftp://files.truecaller.com/x",
        "//files.truecaller.com/x",
        "https:files.truecaller.com/x",
        "https:///files.truecaller.com/x",
        "https://user@files.truecaller.com/x",
        "https://files.truecaller.com@evil.example/x",
        "https://files.truecaller.com:pw@evil.example/x",
        "https://evil.example\\.truecaller.com/x",
        "https://evil.example\\@files.truecaller.com/x",
        "https://evil.example#.truecaller.com/x",
        "https://files.truecaller.com/x#y",
        "https://evil.example%2f.truecaller.com/x",
        "https://evil.example%00.truecaller.com/x",
        "https://evil.example\t.truecaller.com/x",
        "https://evil.example\n.truecaller.com/x",
        "https://files.truecaller.com/x\r\nHost: evil.example",
        "https://files.truecaller.com/x ",
        " https://files.truecaller.com/x",
        "https://\uff46iles.truecaller.com/x",
        "https://files\u3002truecaller.com/x",
        "https://.truecaller.com/x",
        "https://files.truecaller.com./x",
        "https://files.truecaller.com:/x",
        "https://files.truecaller.com:0/x",
        "https://files.truecaller.com:99999/x",
        "https://files.truecaller.com:0443x/",
        "https://[::1.truecaller.com/x",
        "https://[::ffff:1.2.3.4]/x",
        "https://files.truecaller.com/" + "x" * 9000,
        "",
    ],
)
def test_ambiguous_link_is_not_followed(link: str) -> None:
    with pytest.raises(DecodeError, match="plain form") as caught:
        check(link, ["evil.example"])
    assert "evil.example" not in str(caught.value)


def test_host_is_allowed_by_its_name_and_its_port() -> None:
    assert check("https://Files.Example/x", ["FILES.example"]) == Host("files.example", 443)
    assert check("https://files.example:8443/x", ["files.example:8443"]) == Host("files.example", 8443)
    for hosts in (["files.example"], ["other.example:8443"], ["example"]):
        with pytest.raises(ConfigError):
            check("https://files.example:8443/x", hosts)
    with pytest.raises(ConfigError):
        check("https://sub.files.example/x", ["files.example"])


def test_plain_http_is_for_loopback_only_and_only_the_api_port() -> None:
    base = "http://127.0.0.1:8080"
    assert check("http://127.0.0.1:8080/x", base=base) == Host("127.0.0.1", 8080)
    assert check("http://[::1]:8080/x", base="http://[::1]:8080/api") == Host("[::1]", 8080)
    assert check("http://127.0.0.1:9000/x", ["127.0.0.1:9000"]) == Host("127.0.0.1", 9000)
    for link in ("http://127.0.0.1:8081/x", "http://127.0.0.1/x", "http://localhost:8080/x"):
        with pytest.raises(ConfigError):
            check(link, base=base)


def test_error_shows_the_host_and_nothing_else_of_a_link() -> None:
    with pytest.raises(ConfigError) as caught:
        check("https://evil.example/path?signature=s3cr3t")
    assert "evil.example" in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert "path" not in str(caught.value)


@pytest.mark.parametrize("hosts", [[], (), {"files.example"}, ["a", "files.example:8443", "127.0.0.1", "[::1]:80"]])
def test_host_names_are_accepted(hosts: Any) -> None:
    assert check_hosts(hosts) is None


@pytest.mark.parametrize(
    "hosts",
    [
        "files.example",
        b"files.example",
        None,
        7,
        ["https://files.example"],
        ["*.example"],
        [""],
        ["a/b"],
        [None],
        ["a:"],
        ["files.example:0"],
        ["files.example:65536"],
    ],
)
def test_invalid_host_list_is_refused(hosts: Any) -> None:
    problem = check_hosts(hosts)
    assert problem is not None
    assert problem.field == "hosts"
    assert "files.example" in problem.hint


PIECES = st.sampled_from(
    ["https://", "http://", "files.truecaller.com", "evil.example", ":443", ":8443", "@", "\\", "#", "/", "?", "%2f",
     ".", "[", "]", "::1", "127.0.0.1", "a", " ", "\t", "é", "\u3002", "\uff45"]
)  # fmt: skip


@given(link=st.lists(PIECES, max_size=8).map("".join))
def test_followed_links_are_parsed_the_same_by_aiohttp(link: str) -> None:
    try:
        host = check(link)
    except TruecallerError:
        return
    url = URL(link, encoded=True)
    assert (url.host, url.port, url.scheme, url.user, url.fragment) == (host.name, 443, "https", None, "")
