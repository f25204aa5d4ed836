from django.core.exceptions import ValidationError
from django.db import migrations

from accounts.addresses import normal_address

OTHER_LETTERS = r"[^ -~]"


def write_normally(apps, schema_editor):
    """Write addresses as `normal_address` does. Those of which another account has that form stay as they are: their
    owners sign in with what they have typed before."""
    user_model, address_model = apps.get_model("accounts", "User"), apps.get_model("account", "EmailAddress")
    written = {"email__regex": OTHER_LETTERS}
    users = [*user_model.objects.filter(**written).values_list("pk", "email")]
    users += address_model.objects.filter(**written).values_list("user_id", "email")
    for user, address in set(users):
        try:
            normal = normal_address(address)
        except ValidationError:
            continue
        if (
            user_model.objects.filter(email__iexact=normal).exclude(pk=user).exists()
            or address_model.objects.filter(email__iexact=normal).exists()
        ):
            continue
        user_model.objects.filter(pk=user, email=address).update(email=normal)
        address_model.objects.filter(user_id=user, email=address).update(email=normal)


class Migration(migrations.Migration):
    dependencies = [
        ("account", "0009_emailaddress_unique_primary_email"),
        ("accounts", "0001_squashed_0005"),
    ]

    operations = [migrations.RunPython(write_normally, migrations.RunPython.noop)]
