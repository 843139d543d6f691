"""Models of users, as the four verification flows return them. No I/O.

    Profile          mobile websites         has at least one phone number and a first name
    UserInfo         OAuth SDK 3             has `sub`; the rest depends on the granted scopes
    VerifiedNumber   users without the app   a number and its country
    TrueProfile      SDK 2.x and iOS         the signed content

Invariants:
    - Phone numbers are digits with country code. All other fields may be None.
    - A `repr` shows the last four digits of a number and no other personal data.
    - `raw` is the whole decoded object, for fields that have no attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import attrs

from truecaller_async.models import mask_number
from truecaller_async.protocol.json_codec import text_of
from truecaller_async.verification.json_fields import (
    JsonObject,
    boolean,
    list_or_empty,
    object_or_empty,
    phone_number,
    required,
    text_field,
    timestamp,
)


def _masked(number: str | None) -> str:
    return repr(None if number is None else mask_number(number))


def _all_masked(numbers: tuple[str, ...]) -> str:
    return repr(tuple(mask_number(number) for number in numbers))


@attrs.frozen
class Address:
    """A postal address."""

    country_code: str | None = None
    """Two-letter code as sent, in upper or lower case."""
    city: str | None = attrs.field(default=None, repr=False)
    """City."""
    street: str | None = attrs.field(default=None, repr=False)
    """Street."""
    zip_code: str | None = attrs.field(default=None, repr=False)
    """Postal code."""


@attrs.frozen(kw_only=True)
class Profile:
    """A user of a mobile website.

    From "Truecaller for Developers: Mobile websites, Fetch User Profile".
    """

    phone_numbers: tuple[str, ...] = attrs.field(repr=_all_masked)
    """At least one phone number."""
    first_name: str = attrs.field(repr=False)
    """First name."""
    last_name: str | None = attrs.field(default=None, repr=False)
    """Last name."""
    id: str | None = attrs.field(default=None, repr=False)
    """Id of the profile."""
    user_id: str | None = attrs.field(default=None, repr=False)
    """Id of the user."""
    badges: tuple[str, ...] = ()
    """Badges of the profile."""
    avatar_url: str | None = attrs.field(default=None, repr=False)
    """Address of the picture."""
    is_active: bool | None = None
    """Whether the profile is active."""
    gender: str | None = attrs.field(default=None, repr=False)
    """"Male", "Female", "NotSet" or another value of the server."""
    privacy: str | None = None
    """Privacy setting."""
    type: str | None = None
    """Type of the profile."""
    created_at: datetime | None = None
    """Time of creation."""
    updated_at: Mapping[str, datetime] = attrs.field(factory=dict, repr=False)
    """Time of the last change, by field name."""
    addresses: tuple[Address, ...] = attrs.field(default=(), repr=False)
    """Postal addresses."""
    url: str | None = attrs.field(default=None, repr=False)
    """Website."""
    email: str | None = attrs.field(default=None, repr=False)
    """E-mail address."""
    facebook_id: str | None = attrs.field(default=None, repr=False)
    """Facebook id."""
    about_me: str | None = attrs.field(default=None, repr=False)
    """Description."""
    job_title: str | None = attrs.field(default=None, repr=False)
    """Job title."""
    company_name: str | None = attrs.field(default=None, repr=False)
    """Company."""
    raw: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """The whole answer."""


@attrs.frozen(kw_only=True)
class UserInfo:
    """A user of the OAuth SDK.

    From "Truecaller for Developers: OAuth SDK, Fetching User Profile".
    """

    sub: str = attrs.field(repr=False)
    """Permanent id of the user."""
    given_name: str | None = attrs.field(default=None, repr=False)
    """First name."""
    family_name: str | None = attrs.field(default=None, repr=False)
    """Last name."""
    picture: str | None = attrs.field(default=None, repr=False)
    """Address of the picture."""
    gender: str | None = attrs.field(default=None, repr=False)
    """Gender."""
    phone_number: str | None = attrs.field(default=None, repr=_masked)
    """Phone number."""
    phone_number_country_code: str | None = None
    """Two capital letters."""
    phone_number_verified: bool | None = None
    """Whether Truecaller verified the number."""
    email: str | None = attrs.field(default=None, repr=False)
    """E-mail address."""
    locality: str | None = attrs.field(default=None, repr=False)
    """City of the address."""
    postal_code: str | None = attrs.field(default=None, repr=False)
    """Postal code of the address."""
    raw: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """The whole answer."""


@attrs.frozen
class VerifiedNumber:
    """A verified number of a user without the app.

    From "Truecaller for Developers: Server Side Validation".
    """

    phone_number: str = attrs.field(repr=_masked)
    """The number."""
    country_code: str | None = None
    """Two capital letters."""


@attrs.frozen(kw_only=True)
class TrueProfile:
    """A profile that the app signed.

    From "Truecaller for Developers: For Truecaller users verification flow".
    """

    phone_number: str = attrs.field(repr=_masked)
    """Phone number."""
    request_nonce: str | None = None
    """Nonce of the request; checked if `ProfileChecks.nonces` is set."""
    requested_at: datetime | None = None
    """Time of the request; checked against `ProfileChecks.max_age`."""
    first_name: str | None = attrs.field(default=None, repr=False)
    """First name."""
    last_name: str | None = attrs.field(default=None, repr=False)
    """Last name."""
    gender: str | None = attrs.field(default=None, repr=False)
    """A letter, such as "N"."""
    country_code: str | None = None
    """Country code."""
    email: str | None = attrs.field(default=None, repr=False)
    """E-mail address."""
    is_true_name: bool | None = None
    """Whether Truecaller verified the name."""
    is_ambassador: bool | None = None
    """Whether the user is an ambassador of Truecaller."""
    raw: Mapping[str, object] = attrs.field(factory=dict, repr=False)
    """The whole payload."""


def profile_of(value: JsonObject) -> Profile:
    """Convert an object to a profile. Raise `DecodeError` if it has no phone number or no first name."""
    name, online = object_or_empty(value.get("name")), object_or_empty(value.get("onlineIdentities"))
    numbers = tuple(
        number for one in list_or_empty(value.get("phoneNumbers")) if (number := phone_number(one)) is not None
    )
    return Profile(
        phone_numbers=required(numbers or None, "$.phoneNumbers"),
        first_name=required(text_field(name, "first"), "$.name.first"),
        last_name=text_field(name, "last"),
        id=text_field(value, "id"),
        user_id=text_field(value, "userId"),
        badges=tuple(badge for one in list_or_empty(value.get("badges")) if (badge := text_of(one))),
        avatar_url=text_field(value, "avatarUrl"),
        is_active=boolean(value.get("isActive")),
        gender=text_field(value, "gender"),
        privacy=text_field(value, "privacy"),
        type=text_field(value, "type"),
        created_at=timestamp(value.get("createdTime"), per_second=1000),
        updated_at=_history(object_or_empty(value.get("history"))),
        addresses=tuple(_address(object_or_empty(one)) for one in list_or_empty(value.get("addresses"))),
        url=text_field(online, "url"),
        email=text_field(online, "email"),
        facebook_id=text_field(online, "facebookId"),
        about_me=text_field(value, "aboutMe"),
        job_title=text_field(value, "jobTitle"),
        company_name=text_field(value, "companyName"),
        raw=value,
    )


def user_info_of(value: JsonObject) -> UserInfo:
    """Convert an object to a user. Raise `DecodeError` if it has no `sub`."""
    address = object_or_empty(value.get("address"))
    return UserInfo(
        sub=required(text_field(value, "sub"), "$.sub"),
        given_name=text_field(value, "given_name"),
        family_name=text_field(value, "family_name"),
        picture=text_field(value, "picture"),
        gender=text_field(value, "gender"),
        phone_number=phone_number(value.get("phone_number")),
        phone_number_country_code=text_field(value, "phone_number_country_code"),
        phone_number_verified=boolean(value.get("phone_number_verified")),
        email=text_field(value, "email"),
        locality=text_field(address, "locality"),
        postal_code=text_field(address, "postal_code"),
        raw=value,
    )


def verified_number_of(value: JsonObject) -> VerifiedNumber:
    """Convert an object to a number, from a JSON number or a text. Raise `DecodeError` if it has none."""
    return VerifiedNumber(
        required(phone_number(value.get("phoneNumber")), "$.phoneNumber"), text_field(value, "countryCode")
    )


def true_profile_of(value: JsonObject) -> TrueProfile:
    """Convert an object to a signed profile. Raise `DecodeError` if it has no phone number."""
    return TrueProfile(
        phone_number=required(phone_number(value.get("phoneNumber")), "$.phoneNumber"),
        request_nonce=text_field(value, "requestNonce"),
        requested_at=timestamp(value.get("requestTime")),
        first_name=text_field(value, "firstName"),
        last_name=text_field(value, "lastName"),
        gender=text_field(value, "gender"),
        country_code=text_field(value, "countryCode"),
        email=text_field(value, "email"),
        is_true_name=boolean(value.get("isTrueName")),
        is_ambassador=boolean(value.get("isAmbassador")),
        raw=value,
    )


def _history(value: JsonObject) -> dict[str, datetime]:
    changes = {
        name: timestamp(object_or_empty(change).get("updateTime"), per_second=1000) for name, change in value.items()
    }
    return {name: change for name, change in changes.items() if change is not None}


def _address(value: JsonObject) -> Address:
    return Address(
        text_field(value, "countryCode"),
        text_field(value, "city"),
        text_field(value, "street"),
        text_field(value, "zipcode"),
    )
