from datetime import timedelta

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


def carry_over(apps, schema_editor):
    """What was accepted in the last day counts on."""
    since = django.utils.timezone.now() - timedelta(days=1)
    accepted = apps.get_model('inpainting', 'Generation').objects.filter(created_at__gt=since)
    entry = apps.get_model('inpainting', 'LedgerEntry')
    entry.objects.bulk_create(
        entry(owner_id=owner, act='generation', at=at, pixels=width * height)
        for owner, at, width, height in accepted.values_list(
            'owner_id', 'created_at', 'source__width', 'source__height'
        )
    )


class Migration(migrations.Migration):

    dependencies = [
        ('inpainting', '0007_batch'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='LedgerEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('act', models.CharField(choices=[('generation', 'Generation'), ('webhook', 'Webhook')], editable=False, max_length=10)),
                ('pixels', models.PositiveBigIntegerField(default=0, editable=False, help_text='of the picture')),
                ('at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name_plural': 'ledger entries',
                'indexes': [models.Index(fields=['owner', 'act', 'at'], name='inpainting__owner_i_6555b0_idx')],
            },
        ),
        migrations.RunPython(carry_over, migrations.RunPython.noop),
    ]
