"""The one form in which an e-mail address is stored, looked up and sent to, however it is typed."""

from __future__ import annotations

import unicodedata

import idna
from django.core.exceptions import ValidationError
from django.utils.translation import gettext


def normal_address(address: str) -> str:
    """Return the address in lower case and ASCII, the domain by IDNA (RFC 5891, and UTS 46 for its spelling).

    Otherwise a@exampⅼe.com, with U+217C, would be an account of its own, whose mail Django sends to a@example.com.

    Raises ValidationError for a domain that is none or that the former and the present IDNA read differently, such as
    straße.example, and for other letters before the @, to which few mail servers deliver.
    """
    if address.isascii():
        return address.lower()
    local_part, _, domain = address.rpartition("@")
    local_part = unicodedata.normalize("NFKC", local_part).lower()
    if not local_part.isascii():
        raise ValidationError(gettext("Only letters without accents may stand before the @."), code="address_letters")
    try:
        encoded = idna.encode(domain, uts46=True)
        is_ambiguous = encoded != domain.encode("idna")  # as Django sends to it: IDNA 2003
    except UnicodeError as error:  # of both
        raise ValidationError(gettext("There is no such domain behind the @."), code="address_domain") from error
    if is_ambiguous:
        raise ValidationError(
            gettext("Domains with such letters are not always the same one. Write it as {domain}.").format(
                domain=encoded.decode()
            ),
            code="address_ambiguous",
        )
    return f"{local_part}@{encoded.decode()}"
