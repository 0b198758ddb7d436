"""Sign-in as a browser does it: second factor, passwords, and who is refused."""

from __future__ import annotations

import base64
import hmac
import re
import struct
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.core import mail
from django.core.cache import caches
from django.test import Client
from django.urls import reverse

from portal.accounts.models import User
from tests.factories import archive as make
from tests.factories.archive import plain_static

__all__ = ["plain_static"]
pytestmark = pytest.mark.django_db
PASSWORD, BETTER, BEST = "three-plain-words-26", "four-other-plain-words-27", "five-words-nobody-guesses-28"
HOME = "/"


@pytest.fixture(autouse=True)
def no_limits_left_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed sign-ins are counted by address. Emptying the cache would empty what other processes keep in it, too."""
    monkeypatch.setattr(caches["default"], "key_prefix", uuid4().hex)


@pytest.fixture
def alice() -> User:
    user = make.user("alice", make.organisation(), "reader")
    user.email = "alice@example.org"
    user.set_password(PASSWORD)
    user.save()
    return user


def browser() -> Client:
    return Client(enforce_csrf_checks=True)


def post(client: Client, address: str, **form: str) -> Any:
    """Open a page and send its form."""
    return send(client, client.get(address), **form)


def send(client: Client, page: Any, **form: str) -> Any:
    """Send the form of an open page, with the token that the page brought."""
    address = page.wsgi_request.get_full_path()
    assert page.status_code == 200, (address, page.status_code)
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
    assert found, f"{address} has no form"
    return client.post(address, {"csrfmiddlewaretoken": found[1], **form})


def sign_in(client: Client, password: str, name: str = "alice", **form: str) -> Any:
    return post(client, reverse("account_login"), login=name, password=password, **form)


def set_up(client: Client, password: str = PASSWORD) -> str:
    """Confirm who one is, set the authenticator up; returns its secret, as the page shows it."""
    activate = reverse("mfa_activate_totp")
    confirm = client.get(activate)["Location"]
    assert urlsplit(confirm).path == reverse("account_reauthenticate")
    assert post(client, confirm, password="wrong").status_code == 200
    assert client.get(activate).status_code == 302
    assert post(client, confirm, password=password)["Location"] == activate
    assert post(client, activate, code="000000").status_code == 200  # a wrong code sets nothing up
    assert client.get(reverse("mfa_view_recovery_codes")).status_code == 404
    page = client.get(activate)  # each time it is opened it shows a new secret
    found = re.search(r"\b[A-Z2-7]{32}\b", page.content.decode())
    assert found, "the page shows the secret for those who cannot scan"
    assert send(client, page, code=code(found[0])).status_code == 302
    return found[0]


def is_in(client: Client) -> bool:
    return client.get(HOME).status_code == 200


def code(secret: str) -> str:
    """The code that an authenticator shows now (RFC 6238); waits when it is about to change."""
    if (left := 30 - time.time() % 30) < 5:
        time.sleep(left)
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">Q", int(time.time()) // 30), "sha1")
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at : at + 4])[0] & 0x7FFFFFFF) % 10**6:06d}"


def test_the_authenticator_itself(monkeypatch: Any) -> None:
    """RFC 6238, appendix B, SHA-1: at 59 s 94287082, at 1111111109 s 07081804; six digits are the last six."""
    secret = base64.b32encode(b"12345678901234567890").decode()
    for at, shown in ((55, "287082"), (1111111105, "081804")):
        monkeypatch.setattr(time, "time", lambda at=at: float(at))
        assert code(secret) == shown


def test_a_second_factor_is_set_up_asked_for_and_taken_off(alice: User) -> None:
    client = browser()
    assert sign_in(client, PASSWORD)["Location"] == HOME and is_in(client)
    secret = set_up(client)
    assert alice.authenticator_set.filter(type="totp").count() == 1
    codes = re.findall(r"\b[0-9a-f]{8}\b", client.get(reverse("mfa_view_recovery_codes")).content.decode())
    assert len(codes) == 10

    client = browser()
    second = sign_in(client, PASSWORD)["Location"]
    assert second == reverse("mfa_authenticate") and not is_in(client)  # the password alone opens nothing
    assert post(client, second, code="000000").status_code == 200 and not is_in(client)
    assert post(client, second, code=code(secret)).status_code == 302
    assert is_in(client)

    client = browser()
    assert post(client, sign_in(client, PASSWORD)["Location"], code=codes[0]).status_code == 302 and is_in(client)
    client = browser()
    second = sign_in(client, PASSWORD)["Location"]
    assert post(client, second, code=codes[0]).status_code == 200 and not is_in(client)  # each works once
    assert post(client, second, code=codes[1]).status_code == 302
    confirm = client.get(reverse("mfa_deactivate_totp"))["Location"]
    assert post(client, confirm, password=PASSWORD)["Location"] == reverse("mfa_deactivate_totp")
    assert post(client, reverse("mfa_deactivate_totp")).status_code == 302
    client = browser()
    assert sign_in(client, PASSWORD)["Location"] == HOME and is_in(client)


def test_a_password_is_changed_by_its_owner(alice: User) -> None:
    client, elsewhere = browser(), browser()
    for each in (client, elsewhere):
        sign_in(each, PASSWORD)
    change = reverse("account_change_password")
    assert post(client, change, oldpassword="wrong", password1=BETTER, password2=BETTER).status_code == 200
    assert post(client, change, oldpassword=PASSWORD, password1="1234567890", password2="1234567890").status_code == 200
    assert sign_in(browser(), PASSWORD).status_code == 302  # nothing was changed by that
    assert post(client, change, oldpassword=PASSWORD, password1=BETTER, password2=BETTER).status_code == 302
    assert is_in(client) and not is_in(elsewhere)  # other browsers are signed out
    assert sign_in(browser(), PASSWORD).status_code == 200
    assert sign_in(browser(), BETTER).status_code == 302


def reset_link(address: str) -> str:
    [message] = mail.outbox
    assert message.to == [address]
    found = re.search(r"https?://\S+", str(message.body))
    assert found
    return urlsplit(found[0]).path


def test_a_password_is_reset_by_mail(alice: User) -> None:
    client = browser()
    done = post(client, reverse("account_reset_password"), email="alice@example.org")
    assert (
        done["Location"] == reverse("account_reset_password_done") and client.get(done["Location"]).status_code == 200
    )
    link = reset_link("alice@example.org")
    form = client.get(link)["Location"]
    assert post(client, form, password1=BEST, password2="other").status_code == 200
    assert post(client, form, password1=BEST, password2=BEST)["Location"] == reverse(
        "account_reset_password_from_key_done"
    )
    assert not is_in(client)  # the mail alone signs nobody in
    assert sign_in(browser(), PASSWORD).status_code == 200
    assert sign_in(browser(), BEST).status_code == 302
    again = browser().get(link)  # the link works once
    assert again.status_code == 200 and b'name="password1"' not in again.content


def test_unknown_addresses_look_like_known_ones(alice: User) -> None:
    known = post(browser(), reverse("account_reset_password"), email="alice@example.org")
    unknown = post(browser(), reverse("account_reset_password"), email="nobody@example.org")
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])


@pytest.fixture
def robot() -> User:
    user = make.user("robot", make.organisation(), "pacs_admin")
    user.email, user.is_service = "robot@example.org", True
    user.set_unusable_password()
    user.save()
    return user


def test_a_service_account_gets_no_password_by_mail(robot: User) -> None:
    post(browser(), reverse("account_reset_password"), email="robot@example.org")
    assert "/password/reset/key/" not in str(mail.outbox[0].body)  # as to an unknown address
    key = f"{user_pk_to_url_str(robot)}-{default_token_generator.make_token(robot)}"
    page = browser().get(f"/accounts/password/reset/key/{key}/")
    assert page.status_code == 200 and b'name="password1"' not in page.content
    robot.refresh_from_db()
    assert not robot.has_usable_password()


def test_a_service_account_never_signs_in_but_its_token_works(robot: User) -> None:
    robot.set_password(PASSWORD)
    robot.save()
    for name in ("robot", "robot@example.org"):
        client = browser()
        assert sign_in(client, PASSWORD, name).status_code == 200 and not is_in(client)
    client = Client()
    client.force_login(robot)
    assert client.get(HOME)["Location"].startswith("/accounts/login/")
    token = make.token(robot, robot.memberships.get().organisation)
    assert Client(headers={"Authorization": f"Bearer {token}"}).get("/api/v1/receipts/").status_code == 200


def test_the_admin_is_entered_by_the_portals_sign_in(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True, is_superuser=True)
    client = browser()
    sent = client.get("/admin/", follow=True).redirect_chain[-1][0]
    assert urlsplit(sent).path == reverse("account_login")
    assert parse_qs(urlsplit(sent).query)["next"] == ["/admin/"]
    # the admin's own form takes nothing
    bare = Client().post("/admin/login/", {"username": "alice", "password": PASSWORD, "next": "/admin/"})
    assert urlsplit(bare["Location"]).path == reverse("account_login") and "sessionid" not in bare.cookies
    sign_in(client, PASSWORD, next="/admin/")
    set_up(client)
    client = browser()
    assert sign_in(client, PASSWORD, next="/admin/")["Location"].startswith(reverse("mfa_authenticate"))
    assert client.get("/admin/").status_code == 302  # not before the second factor
    bob = make.user("bob", make.organisation(), "reader")
    client = Client()
    client.force_login(bob)
    assert client.get("/admin/", follow=True).status_code == 404  # to others it does not exist


def test_guessing_is_stopped(alice: User) -> None:
    for _ in range(5):
        assert b"Too many" not in sign_in(browser(), "wrong").content
    answer = sign_in(browser(), PASSWORD)
    assert answer.status_code == 200 and b"Too many" in answer.content
